"""One bias update, recomputed from the logged counts and compared with the log."""

import polars as pl
import streamlit as st

from explorer.figures import bias_step, bias_updates
from explorer.figures.arms import Run
from explorer.metrics.glossary import tip
from explorer.queries import bias_step as queries
from explorer.routing.bias_step import BiasStep
from explorer.ui.components.text_table import text_table
from explorer.ui.shared import show, store

MOST_PX = 300
"""Height of the table, of eight experts and the headings."""


def section(run: Run, layer: int, step: int, expert: int, *, is_selected: bool) -> None:
    """The update after `step`. is_selected: whether the visitor singled the expert out."""
    st.subheader("Bias update", help=tip("bias_step"))
    rows = store.ask(queries.bias_step, run, layer, step)
    update = bias_updates.open_step(run, rows)
    if isinstance(update, str):
        show.note(update)
        return
    at = int(rows["step"][0])
    left, right = show.in_columns(2)
    with left:
        st.markdown(show.plain(bias_step.finding(update, expert, at)))
        compare(update, rows)
        show.note(
            f"Layer {layer}. The tokens of step {at} selected experts with the bias before the update; "
            "their counts update it, and the next step uses the result."
            + (
                ""
                if is_selected
                else " Highlight an expert, or click a point on a bias trajectory, to see another one."
            )
        )
    with right:
        st.latex(bias_step.gathered(update, expert))
    table = bias_step.table(update, rows)
    _table(table, f"Update of all biases of layer {layer} after step {at}")


def compare(update: BiasStep, rows: pl.DataFrame) -> None:
    """Equal to the log, in red if not, or why the log has nothing to compare with."""
    at, logged = int(rows["step"][0]), bias_updates.logged_biases(rows)
    if update.force.restarts:
        show.note(
            f"From step {at + 1} on another rule is in force and every bias restarts, so this result was "
            "never used."
        )
        return
    if logged is None:
        following = rows["next_step"][0]
        if following is None:
            show.note("This is the last recorded step, and no later evaluation logged the bias.")
        else:
            show.note(
                f"Step {at + 1} is not recorded, the next one is {following}: the log has no bias to "
                "compare with."
            )
        return
    where = (
        f"step {at + 1} used"
        if rows["logged_in"][0] == "training"
        else f"the evaluation after step {at} used"
    )
    is_equal, sentence = bias_step.verdict(update, logged, where)
    if is_equal:
        st.markdown(f":material/check_circle: {show.plain(sentence)}")
    else:
        st.error(show.plain(sentence), icon=":material/error:")


def _table(table: pl.DataFrame, alt: str) -> None:
    has_whole_errors = all(float(value).is_integer() for value in table["mean − tokens"])
    direction = table.columns[3]
    formats = {
        "expert": "{:d}",
        "tokens": "{:,d}",
        "mean − tokens": "{:+,.0f}" if has_whole_errors else "{:+,.3f}",
        direction: "{:+.0f}" if direction == "sign" else "{:+.4f}",
    }
    written = table.with_columns(
        pl.Series(name, [text.format(value) for value in table[name]]) for name, text in formats.items()
    )
    # On a phone the heading takes two lines and the minus sign does not stand alone.
    written = written.rename({"mean − tokens": "mean\N{NO-BREAK SPACE}− tokens"})
    text_table(written, alt=alt, key="bias_step_table", max_height=MOST_PX)
