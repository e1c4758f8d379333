"""The list of a run's events: read it, or press a step to go there."""

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import event_marks
from explorer.figures.arms import Run
from explorer.metrics.events import event_name
from explorer.ui.shared import cached, show
from explorer.wording import counted

Event = dict[str, Any]
"""A row of `queries.events`: step, layer, expert (None: not about one), kind, detail, source."""
FEW = 8
"""From more events on the kinds can be chosen."""
TALLEST_PX, ROW_PX, HEAD_PX = 320, 35, 38


def event_list(run: Run, on_pick: Callable[[Event], None]) -> None:
    """A compact table of the run's events, the newest last; choosing one calls `on_pick` with it.

    A press on a step does, and so does any cell that is clicked or walked to with the arrow keys.
    `on_pick` is called before the page (or fragment) runs again, so it may set the state of widgets: step,
    layer and expert. All kinds are shown until some are chosen.
    """
    found = cached.events(run.version)
    if found.is_empty():
        show.note("Nothing to mark: no expert died, no layer collapsed, and no event was recorded.")
        return
    counts = dict(cached.event_counts((run.version,)).select("kind", "events").rows())
    chosen = _chosen_kinds(run, counts) if found.height > FEW else []
    rows = found.filter(pl.col("kind").is_in(chosen)) if chosen else found
    key = f"event_list_{run.run_id}"
    st.dataframe(
        shown(rows),
        hide_index=True,
        height=min(TALLEST_PX, HEAD_PX + ROW_PX * rows.height),
        key=f"{key}_table",
        # The buttons hear the mouse only; with the arrow keys one walks from cell to cell.
        on_select=partial(_entered, f"{key}_table", rows, on_pick),
        selection_mode="single-cell",
        alt=f"Table of {counted(rows.height, 'event')} of the run; a press on a step goes there",
        column_config={
            "step": st.column_config.ButtonColumn(
                width=70, key=key, on_click=partial(_pressed, key, rows, on_pick), help="Go to this step."
            ),
            "": st.column_config.TextColumn(width=30),
            "event": st.column_config.TextColumn(width=110),
            "layer": st.column_config.TextColumn(width=50),
            "expert": st.column_config.TextColumn(width=55),
        },
    )
    more = sum(number for kind, number in counts.items() if kind in chosen or not chosen) - rows.height
    if more > 0:
        show.note(f"These are the earliest of each kind, and there are {more:,} more.")


def _chosen_kinds(run: Run, counts: dict[str, int]) -> list[str]:
    """Kinds that the visitor has chosen; none means all of them."""
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


def shown(events: pl.DataFrame) -> pl.DataFrame:
    """The table: a button with the step, the symbol of the marks, words, and a dash for no number."""
    number = pl.col("layer", "expert").cast(pl.String).fill_null("–")
    kinds = events["kind"]
    return events.select(
        pl.col("step").cast(pl.String),
        pl.Series("", [event_marks.glyph(kind).letter for kind in kinds], dtype=pl.String),
        pl.Series("event", [event_name(kind) for kind in kinds], dtype=pl.String),
        number,
        pl.col("detail").alias("what"),
    )


def _pressed(key: str, events: pl.DataFrame, on_pick: Callable[[Event], None]) -> None:
    """Call back with the event whose step was pressed."""
    clicked = st.session_state.get(key)
    if clicked is not None:
        _pick(events, clicked["row"], on_pick)


def _entered(key: str, events: pl.DataFrame, on_pick: Callable[[Event], None]) -> None:
    """Call back with the event in whose row a cell was entered."""
    for row, _ in st.session_state[key]["selection"]["cells"]:
        _pick(events, row, on_pick)


def _pick(events: pl.DataFrame, row: int, on_pick: Callable[[Event], None]) -> None:
    # A run that trains may have grown between what was seen and what was pressed.
    if 0 <= row < events.height:
        on_pick(events.row(row, named=True))
