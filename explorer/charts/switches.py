"""Where a run changed its balancing rule: a vertical rule with the new rule's name, on figures over steps."""

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme

SCHEMA = {"run_id": pl.String, "family": pl.String, "step": pl.Int64, "words": pl.String}
ROWS = 3
"""Rows of words above the plot, for changes that are close to each other."""
ROW_PX, LETTER_PX, PLOT_PX = 13, 6.2, 300
"""Height of a row; about the width of a letter and of a plot in two columns."""
DASH = [4, 3]


def with_changes(build: Callable[[], theme.Figure], changes: pl.DataFrame, last_step: int) -> theme.Figure:
    """The figure with the changes of rules on it; as it is where there are none.

    changes: columns of `SCHEMA`, one row per change that has taken effect. `last_step`: where the axis ends.
    """
    figure = build()
    if isinstance(figure, alt.LayerChart) and not changes.is_empty():
        figure.layer = [*figure.layer, *layers(rows(changes, last_step))]
    return figure


def layers(change_rows: pl.DataFrame, lift: int = 0) -> list[Any]:
    """A dashed rule with a word above it, in the colour of the run, for every change.

    change_rows: from `rows`. `lift`: rows left free above the plot, for the name of a playhead.
    """
    tooltip = [
        alt.Tooltip("run_id:N", title="run"),
        alt.Tooltip("step:Q", title="from step", format="d"),
        alt.Tooltip("words:N", title="rule"),
    ]
    base = alt.Chart(change_rows).encode(x=alt.X("step:Q"))
    ink = alt.ExprRef("luminance(background) < 0.3 ? datum.dark : datum.light")
    rule = base.mark_rule(color=ink, strokeWidth=1.2, strokeDash=DASH, clip=True).encode(tooltip=tooltip)
    # Hidden where the visitor has zoomed past it.
    seen = alt.ExprRef("inrange(scale('x', datum.step), [0, width]) ? 1 : 0")
    words = base.mark_text(
        align=alt.ExprRef("datum.side"),
        dx=alt.ExprRef("datum.side == 'left' ? -1 : 1"),
        dy=alt.ExprRef(f"-4 - {ROW_PX} * (datum.row + {lift})"),
        baseline="bottom",
        fontSize=11,
        fontWeight=600,
        color=ink,
        opacity=seen,
        clip=False,
    ).encode(text=alt.Text("words:N"), y=alt.YValue(0))
    return [rule, words]


def rows(changes: pl.DataFrame, last_step: int) -> pl.DataFrame:
    """The changes with the two colours of the run's family, and row and side of the words."""
    ordered = changes.sort("step", "run_id")
    inks = [theme.FAMILY_TEXT.get(family, theme.NEUTRAL_TEXT) for family in ordered["family"]]
    ends = [float("-inf")] * ROWS
    taken: list[int] = []
    sides: list[str] = []
    for step, words in ordered.select("step", "words").rows():
        at, size = step / max(last_step, 1) * PLOT_PX, len(words) * LETTER_PX
        is_late = at > PLOT_PX / 2
        start, end = (at - size, at) if is_late else (at, at + size)
        row = next((row for row in range(ROWS) if ends[row] <= start), len(taken) % ROWS)
        ends[row] = max(ends[row], end + LETTER_PX)
        taken.append(row)
        sides.append("right" if is_late else "left")
    return ordered.with_columns(
        light=pl.Series([ink.light for ink in inks], dtype=pl.String),
        dark=pl.Series([ink.dark for ink in inks], dtype=pl.String),
        row=pl.Series(taken, dtype=pl.Int64),
        side=pl.Series(sides, dtype=pl.String),
    )
