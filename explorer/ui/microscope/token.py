"""One token under the Microscope: its scores, the formulas with its numbers, the bias update after it."""

from functools import partial

import polars as pl
import streamlit as st

from explorer.figures import bias_step, bias_updates
from explorer.figures import probe_sentences as sentences
from explorer.figures.arms import Run
from explorer.figures.panel import Panel, slug
from explorer.figures.probe_batch import RoutedBatch, token_table
from explorer.figures.views.microscope import MicroscopeSettings, token_question
from explorer.metrics.glossary import tip
from explorer.queries import bias_step as queries
from explorer.ui.microscope import formulas
from explorer.ui.shared import bias_step as bias_update
from explorer.ui.shared import panels, show, store


def section(run: Run, batch: RoutedBatch, settings: MicroscopeSettings) -> None:
    """The scores beside the formulas, and the update below them."""
    st.subheader("Routing of the selected token", help=tip("top_k"))
    error = sentences.mismatch_sentence(batch)
    if error:
        st.error(show.plain(error), icon=":material/error:")
    if batch.settings.note:
        show.note(batch.settings.note)
    table = token_table(batch, settings.token)
    left, right = show.in_columns(2)
    with left:
        _scores(run, batch, settings, table)
    with right:
        _formulas(batch, settings.token, table)
    _update(run, batch, settings)


def _scores(run: Run, batch: RoutedBatch, settings: MicroscopeSettings, table: pl.DataFrame) -> None:
    question = token_question(run, settings)
    if isinstance(store.answer(question), Panel):
        show.question(question, live=True)
        return
    panels.wait(slug(question.key), partial(store.answer, question))
    st.markdown(show.plain(sentences.token(batch, settings.token, table)))
    show.data_table(table, subject=f"Token {settings.token}", key=question.key)


def _formulas(batch: RoutedBatch, token: int, table: pl.DataFrame) -> None:
    """Every step with this token's numbers, as one text: each element costs the browser some time."""
    parts = formulas.steps(batch, token, table)
    if parts:
        st.markdown("\n\n".join(f"{show.plain(text)}\n\n$$\n{formula}\n$$" for text, formula in parts))


def _update(run: Run, batch: RoutedBatch, settings: MicroscopeSettings) -> None:
    """The bias update after the probe, of the marked expert or of the token's first choice."""
    if batch.bias is None:
        if batch.logits is not None:
            show.note("No bias is applied here, so no bias update follows the step.")
        return
    st.markdown("### Bias update after this step", help=tip("loss_free"))
    expert = settings.expert
    if expert is None:
        expert = next(iter(batch.chosen_by(settings.token)), 0)
    rows = store.ask(queries.bias_step, run, batch.layer, batch.step)
    if rows.is_empty() or int(rows["step"][0]) != batch.step:
        show.note(_no_update(rows, batch.step))
        return
    update = bias_updates.open_step(run, rows)
    if isinstance(update, str):
        show.note(update)
        return
    left, right = show.in_columns(2)
    with left:
        st.markdown(show.plain(bias_step.finding(update, expert, batch.step)))
        bias_update.compare(update, rows)
    with right:
        st.latex(bias_step.gathered(update, expert))


def _no_update(rows: pl.DataFrame, step: int) -> str:
    """Why no update follows the probe."""
    if rows.is_empty() or rows["next_step"][0] is None:
        return (
            f"This probe was taken after the last recorded step, so no update follows: step {step} was never "
            "trained. Earlier probes show one."
        )
    return f"The loads of step {step} were not recorded, so its update cannot be recomputed."
