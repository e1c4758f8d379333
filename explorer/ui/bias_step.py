"""How a bias came about: one update, opened, worked out again and held against what was logged."""

import json

import numpy as np
import polars as pl
import streamlit as st

from explorer.bias_step import BiasStep, Floats, rule_in_force, work_out
from explorer.glossary import tip
from explorer.outranking import outranking_gap
from explorer.ui import bias_step_words as words
from explorer.ui import cached, show
from explorer.ui.arms import Run


def panel(run: Run, layer: int, step: int, expert: int, *, chosen: bool) -> None:
    """The update after `step`. `chosen`: whether the visitor singled the expert out."""
    st.subheader("How did the bias get there?", help=tip("bias_step"))
    rows = cached.bias_step(run.version, layer, step)
    found = open_step(run, rows)
    if isinstance(found, str):
        show.note(found)
        return
    at = int(rows["step"][0])
    left, right = show.in_columns(2)
    with left:
        st.markdown(show.plain(words.finding(found, expert, at)))
        say(found, rows)
        show.note(
            f"Layer {layer}. With the bias before, the tokens of step {at} chose their experts; their counts "
            "move it, and the result is used in the next step."
            + ("" if chosen else " Single out an expert, or click a point of a bias line, to see another.")
        )
    with right:
        st.latex(gathered(found, expert))
    _table(words.table(found, logged_of(rows)), f"Update of all biases of layer {layer} after step {at}")


def open_step(run: Run, rows: pl.DataFrame) -> BiasStep | str:
    """The update, or why it cannot be worked out."""
    if rows.is_empty():
        return "No loads were recorded at or before this step."
    at = int(rows["step"][0])
    force = rule_in_force(config_of(run), at, run.balancer)
    if isinstance(force, str):
        return force
    if rows["expert_bias"].null_count():
        return f"No bias was recorded for step {at}."
    return work_out(force, rows["tokens"].to_numpy(), rows["expert_bias"].to_numpy().astype(np.float32))


def logged_of(rows: pl.DataFrame) -> Floats | None:
    """[N] the biases after the update; None where they were not recorded."""
    return None if rows["logged"].null_count() else rows["logged"].to_numpy().astype(np.float32)


def say(found: BiasStep, rows: pl.DataFrame) -> None:
    """Equal, in red if not, or why there is nothing to hold it against."""
    at, logged = int(rows["step"][0]), logged_of(rows)
    if found.force.restarts:
        show.note(
            f"From step {at + 1} on another rule is in force and every bias starts anew, so this outcome was "
            "never used."
        )
        return
    if logged is None:
        following = rows["next_step"][0]
        if following is None:
            show.note("This is the last recorded step, and no evaluation after it has logged the outcome.")
        else:
            show.note(
                f"Step {at + 1} is not recorded, the next one is {following}: there is nothing to hold the "
                "outcome against."
            )
        return
    where = (
        f"step {at + 1} used"
        if rows["logged_in"][0] == "training"
        else f"the evaluation after step {at} used"
    )
    equal, sentence = words.verdict(found, logged, where)
    if equal:
        st.markdown(f":material/check_circle: {show.plain(sentence)}")
    else:
        st.error(show.plain(sentence), icon=":material/error:")


def _table(table: pl.DataFrame, alt: str) -> None:
    whole = all(float(value).is_integer() for value in table["mean − tokens"])
    direction = table.columns[3]
    number = st.column_config.NumberColumn
    # Text, since a column of numbers would round them.
    right = st.column_config.TextColumn(alignment="right")
    st.dataframe(
        table,
        hide_index=True,
        height=min(284, 38 + 35 * table.height),
        alt=alt,
        key="bias_step_table",
        column_config={
            "mean − tokens": number(format="%+d" if whole else "%+.3f"),
            direction: number(format="%+d" if direction == "sign" else "%+.4f"),
            **dict.fromkeys(("bias before", "bias after", "logged"), right),
        },
    )


def gathered(found: BiasStep, expert: int) -> str:
    """The update line by line with the numbers of one expert, as one LaTeX formula."""
    return r"\begin{gathered}" + r" \\[.45em] ".join(words.formulas(found, expert)) + r"\end{gathered}"


def config_of(run: Run) -> dict[str, object] | None:
    """The run's configuration; None where it cannot be read."""
    try:
        config = json.loads(run.config)
    except (TypeError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def gap_of(run: Run, frame: pl.DataFrame) -> float | None:
    """Difference of two biases beyond which scores have no say, at the end of a frame of trajectories."""
    if frame.is_empty():
        return None
    return outranking_gap(config_of(run) or {}, int(frame["last_step"].to_numpy().max()))
