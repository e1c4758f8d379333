"""One token under the Microscope: its scores, the formulas with its numbers, and the update that follows."""

from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import microscope as charts
from explorer.figures import bias_step
from explorer.figures.arms import Run
from explorer.metrics.glossary import tip
from explorer.ui.microscope import formulas as microscope_formulas
from explorer.ui.microscope import text as microscope_words
from explorer.ui.microscope.view import View, alone, cut_off, token_table
from explorer.ui.shared import bias_step as bias_update
from explorer.ui.shared import cached, show, specs


def section(run: Run, view: View, token: int, expert: int | None) -> None:
    """The figure of the scores beside the formulas, and the update below them."""
    st.subheader("How is this token routed?", help=tip("top_k"))
    if view.unexplained:
        sentence = (
            f"For {view.unexplained} of {view.num_tokens} tokens the recorded experts are not those that the "
            "recorded logits and biases give; what is marked as chosen is what was recorded."
        )
        st.error(
            show.plain(sentence),
            icon=":material/error:",
        )
    table = token_table(view, token)
    if view.settings.note:
        show.note(view.settings.note)
    left, right = show.in_columns(2)
    with left:
        _scores(run, view, token, expert, table)
    with right:
        _formulas(view, token, table)
    _update(run, view, token, expert)


def _scores(run: Run, view: View, token: int, expert: int | None, table: pl.DataFrame) -> None:
    finding = microscope_words.token(view, token, table)
    if view.scores is None:
        st.markdown(show.plain(finding))
        show.data_table(table, subject=f"Token {token}", key="microscope_token")
        return
    rows = score_rows(table, expert)
    cuts = cuts_of(view, token, table)
    biased = view.bias is not None
    chart = specs.kept(
        ("microscope scores", run.num_experts, biased),
        partial(charts.token_scores, rows, cuts, biased=biased),
    )
    arrow = (
        "Bars are scores, rings what the scores alone would choose. An arrow adds the bias; what ends above "
        "the dashed line is chosen."
        if biased
        else "Bars are scores; those above the dashed line are chosen."
    )
    show.figure(
        chart.with_rows(rows).with_rows(cuts),
        subject=f"Scores of the chosen token in layer {view.layer}",
        finding=finding,
        how=arrow if view.compared is not None else "Bars are scores; colours say who is chosen.",
        table=table.drop("before", "after"),
        sources=(view.source,),
        key="microscope_token",
        live=True,
    )


def score_rows(table: pl.DataFrame, expert: int | None) -> pl.DataFrame:
    """The rows that `charts.token_scores` draws."""
    marked = pl.lit(False) if expert is None else pl.col("expert") == expert
    return table.with_columns(marked=marked).select(charts.COLUMNS)


def cuts_of(view: View, token: int, table: pl.DataFrame) -> pl.DataFrame:
    """Where the choice cuts, with and without the bias."""
    biased = cut_off(view.compared, view.chosen_by(token), token)
    unbiased = cut_off(alone(view), view.would_choose(token), token) if view.bias is not None else None
    values = [v for name in ("score", "compared") for v in table[name].drop_nulls().to_list()]
    return charts.cut_rows(unbiased, biased, min([0.0, *values]), max([0.0, *values]))


def _formulas(view: View, token: int, table: pl.DataFrame) -> None:
    """Every step with this token's numbers, as one text: each element costs the browser some time."""
    parts = microscope_formulas.steps(view, token, table)
    if parts:
        st.markdown("\n\n".join(f"{show.plain(words)}\n\n$$\n{formula}\n$$" for words, formula in parts))


def _update(run: Run, view: View, token: int, expert: int | None) -> None:
    if view.bias is None:
        show.note("No bias takes part here, so none is moved after the step.")
        return
    st.markdown("### And then the bias moves", help=tip("loss_free"))
    chosen = view.chosen_by(token)
    about = expert if expert is not None else (chosen[0] if chosen else 0)
    rows = cached.bias_step(run.version, view.layer, view.step)
    if rows.is_empty() or int(rows["step"][0]) != view.step:
        show.note(_no_update(rows, view.step))
        return
    found = bias_step.open_step(run, rows)
    if isinstance(found, str):
        show.note(found)
        return
    left, right = show.in_columns(2)
    with left:
        st.markdown(show.plain(bias_step.finding(found, about, view.step)))
        bias_update.compare(found, rows)
    with right:
        st.latex(bias_step.gathered(found, about))


def _no_update(rows: pl.DataFrame, step: int) -> str:
    """Why no update follows the probe."""
    if rows.is_empty() or rows["next_step"][0] is None:
        return (
            f"This probe was taken after the last recorded step, so no update follows: step {step} was never "
            "trained. An earlier probe shows one."
        )
    return f"The loads of step {step} were not recorded, so its update cannot be worked out."
