"""Direct labels at the right end of lines, moved apart so that none covers another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from explorer.charts.anchored import anchored
from explorer.charts.theme import Ink

LINE_PX = 14
LEADER_PX = 16
"""Room for the line that joins a label to the end of its own."""
SMALL_PX = 12
IS_NARROW = "width < 420"
"""Vega expression: the figure is on a phone, whether or not labels have already taken their room."""


@dataclass(frozen=True)
class EndLabel:
    """A label at height `value` of the y axis."""

    text: str
    value: float
    ink: Ink
    strong: bool = True

    @property
    def lines(self) -> int:
        return self.text.count("\n") + 1


def spread_apart(positions: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Centres near `positions` whose intervals of the given sizes do not overlap, inside [low, high].

    Pushes up from the bottom, then down from the top. If everything does not fit, the intervals
    share the space evenly.
    """
    order = sorted(range(len(positions)), key=lambda i: (positions[i], i))
    if not order:
        return []
    total = sum(sizes)
    scale = min(1.0, (high - low) / total) if total > 0 else 1.0
    half = [size * scale / 2 for size in sizes]
    centres = [0.0] * len(positions)
    edge = low
    for i in order:
        centres[i] = max(positions[i], edge + half[i])
        edge = centres[i] + half[i]
    edge = high
    for i in reversed(order):
        centres[i] = min(centres[i], edge - half[i])
        edge = centres[i] - half[i]
    return centres


def break_label(label: str) -> str:
    """Puts the part in brackets, usually the count scope, and every later rule on a line of its own."""
    first, *later = label.split(", from ")
    return "\n".join(_break_brackets(part) for part in [first, *(f"from {part}" for part in later)])


def _break_brackets(label: str) -> str:
    head, bracket, rest = label.partition(" (")
    return f"{head}\n{rest.replace(')', '', 1)}" if bracket else label


def end_labels(
    labels: Sequence[EndLabel],
    *,
    field: str,
    low: float,
    high: float,
    height: int,
    log_y: bool = False,
    font_size: int = 12,
) -> list[alt.Chart]:
    """Texts right of the plot. `low` and `high` are about what the y axis will show.

    The texts are placed by the scale of the lines and follow it; they sit outside the plot
    and take their room from its right side. A thin line joins each to the end of its own line. Letters are no
    larger than SMALL_PX where the figure is narrow.
    """
    data = _placed(labels, field=field, low=low, high=high, height=height, log_y=log_y, font_size=font_size)
    base = alt.Chart(data).encode(
        x=alt.XValue(alt.expr("width")), y=alt.Y(f"{field}:Q"), text=alt.Text("text:N")
    )
    colour = alt.ExprRef("luminance(background) < 0.3 ? datum.dark : datum.light")
    mark: dict[str, Any] = {
        "clip": False,
        "align": "left",
        "baseline": "middle",
        "dx": LEADER_PX + 4,
        "fontSize": font_size
        if font_size <= SMALL_PX
        else alt.ExprRef(f"{IS_NARROW} ? {SMALL_PX} : {font_size}"),
        "lineBreak": "\n",
        "lineHeight": LINE_PX * font_size / 12,
        "dy": alt.ExprRef("datum.shift"),
        "color": colour,
    }
    strong = base.transform_filter("datum.strong").mark_text(fontWeight=600, **mark)
    plain = base.transform_filter("!datum.strong").mark_text(**mark)
    leaders = (
        alt.Chart(data)
        .mark_rule(clip=False, strokeWidth=1, opacity=0.7, color=colour)
        .encode(
            x=alt.XValue(alt.expr("width + 2")),
            x2=alt.X2Value(alt.expr(f"width + {LEADER_PX}")),
            y=alt.Y("end:Q"),
            y2=alt.Y2(f"{field}:Q"),
        )
    )
    # One of them may have no rows, and none reaches beyond the lines.
    return [anchored(layer) for layer in (leaders, strong, plain)]


def _placed(
    labels: Sequence[EndLabel],
    *,
    field: str,
    low: float,
    high: float,
    height: int,
    log_y: bool,
    font_size: int,
) -> pl.DataFrame:
    """A row per label: where its line ends (`end`) and where its text has room (`field`)."""
    usable = [label for label in labels if math.isfinite(label.value) and (label.value > 0 or not log_y)]
    forward = math.log10 if log_y else float
    bottom, top = (
        forward(low) if low > 0 or not log_y else -3.0,
        forward(high) if high > 0 or not log_y else 0.0,
    )
    span = max(top - bottom, 1e-9)
    line_px = LINE_PX * font_size / 12
    sizes = [(label.lines * line_px + 6) * span / height for label in usable]
    centres = spread_apart([forward(x.value) for x in usable], sizes, bottom, top)
    schema = {
        field: pl.Float64,
        "end": pl.Float64,
        "text": pl.String,
        "light": pl.String,
        "dark": pl.String,
        "strong": pl.Boolean,
        "shift": pl.Float64,
    }
    return pl.DataFrame(
        {
            field: [10.0**c if log_y else c for c in centres],
            "end": [x.value for x in usable],
            "text": [x.text for x in usable],
            "light": [x.ink.light for x in usable],
            "dark": [x.ink.dark for x in usable],
            "strong": [x.strong for x in usable],
            "shift": [-(x.lines - 1) / 2 * line_px for x in usable],
        },
        schema=schema,
    )
