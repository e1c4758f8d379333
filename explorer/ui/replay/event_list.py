"""The list of a run's events; each step is a button that goes there."""

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import event_marks
from explorer.figures.arms import Run
from explorer.figures.events import NO_COLLAPSE, NO_DEATH, RULES
from explorer.metrics import DEAD_STEPS
from explorer.metrics.events import event_name
from explorer.queries import events as queries
from explorer.ui.shared import show, state, store
from explorer.wording import counted

Event = dict[str, Any]
"""A row of `queries.events`: step, layer, expert (None: it concerns no single one), kind, detail, source."""
FEW = 8
"""With more events than that, kinds can be selected."""
TALLEST_PX, ROW_PX, HEAD_PX = 320, 35, 38


def event_list(run: Run, on_pick: Callable[[Event], None]) -> None:
    """A compact table of the run's events, the newest last; picking one calls `on_pick` with it.

    A step is a button; a cell counts as picked when it is clicked or reached with the arrow keys.
    `on_pick` is called before the page (or fragment) runs again, so it may set the state of widgets: step,
    layer and expert. All kinds are listed until some are selected.
    """
    events = store.ask(queries.events, run)
    if events.is_empty():
        show.note(none_text(run))
        return
    counts = dict(store.ask(queries.event_counts, [run]).select("kind", "events").rows())
    kinds = _selected_kinds(run, counts) if events.height > FEW else []
    rows = events.filter(pl.col("kind").is_in(kinds)) if kinds else events
    key = f"event_list_{run.run_id}"
    st.dataframe(
        table(rows),
        hide_index=True,
        height=min(TALLEST_PX, HEAD_PX + ROW_PX * rows.height),
        key=f"{key}_table",
        # The buttons hear the mouse only; the arrow keys move from cell to cell.
        on_select=partial(_on_cell, f"{key}_table", rows, on_pick),
        selection_mode="single-cell",
        alt=f"Table of {counted(rows.height, 'event')} of the run; click a step to go to it",
        column_config={
            "step": st.column_config.ButtonColumn(
                width=70, key=key, on_click=partial(_on_button, key, rows, on_pick), help="Go to this step."
            ),
            "": st.column_config.TextColumn(width=30),
            "event": st.column_config.TextColumn(width=110),
            "layer": st.column_config.TextColumn(width=50),
            "expert": st.column_config.TextColumn(width=55),
        },
    )
    show.note(RULES)
    more = sum(number for kind, number in counts.items() if kind in kinds or not kinds) - rows.height
    if more > 0:
        show.note(f"These are the earliest of each kind; {more:,} more are not listed.")


def none_text(run: Run) -> str:
    """Why a run has no events: nothing happened, or it has fewer recorded steps than a death takes."""
    if run.is_imported and run.num_steps < DEAD_STEPS:
        steps = counted(run.num_steps, "recorded step")
        return (
            f"No events: a dead expert or a collapsed layer counts as an event after {DEAD_STEPS} recorded "
            f"steps, and this run has {steps}. Run health names experts without a token."
        )
    return (
        f"No events: {NO_DEATH}, {NO_COLLAPSE} (at most half of its experts effectively in use), and the run "
        "recorded no others."
    )


def _selected_kinds(run: Run, counts: dict[str, int]) -> list[str]:
    """Kinds of events to list; none means all of them."""
    if len(counts) < 2:
        return []
    return st.pills(
        "Kinds of events",
        list(counts),
        selection_mode="multi",
        format_func=lambda kind: f"{event_marks.glyph(kind).letter} {event_name(kind)} {counts[kind]:,}",
        key=f"event_kinds_{run.run_id}",
        label_visibility="collapsed",
    )


def table(events: pl.DataFrame) -> pl.DataFrame:
    """Columns step (text of a button), symbol of the marks, event, layer, expert (– for none), what."""
    number = pl.col("layer", "expert").cast(pl.String).fill_null("–")
    kinds = events["kind"]
    return events.select(
        pl.col("step").cast(pl.String),
        pl.Series("", [event_marks.glyph(kind).letter for kind in kinds], dtype=pl.String),
        pl.Series("event", [event_name(kind) for kind in kinds], dtype=pl.String),
        number,
        pl.col("detail").alias("what"),
    )


def _on_button(key: str, events: pl.DataFrame, on_pick: Callable[[Event], None]) -> None:
    """Call back with the event whose step was pressed."""
    clicked = state.value(key)
    if clicked is not None:
        _pick(events, clicked["row"], on_pick)


def _on_cell(key: str, events: pl.DataFrame, on_pick: Callable[[Event], None]) -> None:
    """Call back with the event of the selected cell's row."""
    for row, _ in state.value(key)["selection"]["cells"]:
        _pick(events, row, on_pick)


def _pick(events: pl.DataFrame, row: int, on_pick: Callable[[Event], None]) -> None:
    # A run that trains may have grown since the visitor saw the list.
    if 0 <= row < events.height:
        on_pick(events.row(row, named=True))
