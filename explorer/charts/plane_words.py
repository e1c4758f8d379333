"""The words in the dilemma plane: the coefficient of every point, and the label for MaxVio 0."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import polars as pl

from explorer.charts.anchored import at as pixel_at
from explorer.charts.placing import LETTER_PX, LINE_PX, Box, leader, place_words, without_overlaps
from explorer.charts.plane_rows import in_sweep

PADDING_PX = 34
NARROW_PX = 500
"""A narrow page's plot: words that keep apart there keep apart on a wider one."""
PHONE_PX = 280
"""A phone's plot: words that would meet there are left to the tooltips."""
ZERO, ZERO_DX, ZERO_DY = "MaxVio 0", 9, -8
_IS_PHONE = "width < 400"
_LEADER = ("leader_x", "leader_y", "leader_x2", "leader_y2")


def coefficients(
    groups: pl.DataFrame,
    runs: pl.DataFrame,
    x: alt.X,
    y: alt.Y,
    colour: alt.Color,
    *,
    log_x: bool,
    height: int,
) -> list[alt.Chart]:
    """The coefficient at every point, where it covers the least of what else is there."""
    groups_with_coefficient = groups.filter(pl.col("coefficient").is_not_null())
    if groups_with_coefficient.is_empty():
        return []
    words, places = _layout(groups, runs, NARROW_PX, log_x=log_x, height=height)
    phone_words, phone_places = _layout(groups, runs, PHONE_PX, log_x=log_x, height=height)
    zero_boxes = _zero_boxes(groups, runs, PHONE_PX, log_x=log_x, height=height)
    data = groups_with_coefficient.with_columns(
        pl.Series("on_phone", without_overlaps(phone_words, phone_places, zero_boxes), dtype=pl.Boolean),
        *_offsets("", words, places),
        *_offsets("_phone", phone_words, phone_places),
    )
    has_room = alt.OpacityValue(alt.expr(f"{_IS_PHONE} && !datum.on_phone ? 0 : 1"))
    text = alt.Chart(data).encode(x=x, y=y, text=alt.Text("coefficient_text:N"), opacity=has_room)
    look: dict[str, Any] = {"fontSize": 11, "align": "center", "baseline": "middle"}
    look |= {side: alt.ExprRef(_by_width(f"datum.{side}")) for side in ("dx", "dy")}
    # The page's colour around the letters keeps them readable where lines cross.
    halo = text.mark_text(stroke=alt.ExprRef("background"), strokeWidth=3, strokeJoin="round", **look)
    return [*_leaders(data, colour), halo, text.mark_text(**look).encode(color=colour)]


def _offsets(
    suffix: str, words: Sequence[tuple[str, float, float]], places: Sequence[tuple[float, float]]
) -> list[pl.Series]:
    """Columns of one layout: the offset from point to word, and the ends of the line between them, if any."""
    lines = [leader(text, *place) for (text, *_), place in zip(words, places, strict=True)]
    ends = [(None,) * 4 if line is None else (*line[0], *line[1]) for line in lines]
    columns = dict(zip(("dx", "dy"), zip(*places, strict=True), strict=True))
    columns |= dict(zip(_LEADER, zip(*ends, strict=True), strict=True))
    return [
        pl.Series(name + suffix, list(values), dtype=pl.Float64).round(1) for name, values in columns.items()
    ]


def _leaders(data: pl.DataFrame, colour: alt.Color) -> list[alt.Chart]:
    """Lines to the words that stand away from their points; no layer without any."""
    rows = data.filter(pl.any_horizontal(pl.col(_LEADER[0], f"{_LEADER[0]}_phone").is_not_null()))
    if rows.is_empty():
        return []
    is_there = alt.expr(f"isValid({_by_width(f'datum.{_LEADER[0]}')}) ? 0.7 : 0")
    ends: dict[str, Callable[[alt.ExprRef], Any]] = {
        "x": alt.XValue, "y": alt.YValue, "x2": alt.X2Value, "y2": alt.Y2Value,
    }  # fmt: skip
    places = {
        channel: make(alt.expr(f"{pixel_at(channel[0], channel[0])} + {_by_width(f'datum.{field}')}"))
        for (channel, make), field in zip(ends.items(), _LEADER, strict=True)
    }
    return [
        alt.Chart(rows)
        .mark_rule(strokeWidth=1)
        .encode(**places, color=colour, opacity=alt.OpacityValue(is_there))
    ]


def _by_width(field: str) -> str:
    """A column's value in the layout of this plot's width."""
    return f"({_IS_PHONE} ? {field}_phone : {field})"


def _layout(
    groups: pl.DataFrame, runs: pl.DataFrame, width: float, *, log_x: bool, height: int
) -> tuple[list[tuple[str, float, float]], list[tuple[float, float]]]:
    """The coefficients with their points in a plot this wide, in pixels, and the offset of each word."""
    at = _points_at(groups, runs, width, log_x=log_x, height=height)
    marks = [Box.around(*at(row), 18, 18) for row in groups.to_dicts()]
    marks += [Box.around(*at(row), 8, 8) for row in runs.filter(pl.col("seeds") > 1).to_dicts()]
    for row in groups.filter(pl.col("seeds") > 1).to_dicts():
        _, middle = at(row)
        left, right = (at({**row, "x": row[end]})[0] for end in ("x_low", "x_high"))
        marks.append(Box(left, middle - 2, right, middle + 2))
    marks += _zero_boxes(groups, runs, width, log_x=log_x, height=height)
    parts = in_sweep(groups).sort("coefficient").partition_by("sweep", "pair_key")
    sweeps = [[at(row) for row in part.to_dicts()] for part in parts]
    lines = [pair for sweep in sweeps for pair in pairwise(sweep)]
    with_coefficient = groups.filter(pl.col("coefficient").is_not_null())
    words = [(str(row["coefficient_text"]), *at(row)) for row in with_coefficient.to_dicts()]
    return words, place_words(words, marks, lines, Box(0, 0, width, height))


def _points_at(
    groups: pl.DataFrame, runs: pl.DataFrame, width: float, *, log_x: bool, height: int
) -> Callable[[dict[str, Any]], tuple[float, float]]:
    """Where the plot draws a row, in pixels from its upper left corner."""
    ends = groups.filter(pl.col("seeds") > 1)
    across = _pixels([*groups["x"], *runs["x"], *ends["x_low"], *ends["x_high"]], width, log=log_x)
    down = _pixels([*groups["y"], *runs["y"], *ends["y_low"], *ends["y_high"]], height, log=True)
    return lambda row: (across(row["x"]), height - down(row["y"]))


def _zero_boxes(
    groups: pl.DataFrame, runs: pl.DataFrame, width: float, *, log_x: bool, height: int
) -> list[Box]:
    at = _points_at(groups, runs, width, log_x=log_x, height=height)
    return [_zero_box(*at(row)) for row in _zero_groups(groups).to_dicts()]


def _pixels(values: Sequence[float], size: float, *, log: bool) -> Callable[[float], float]:
    """About where the axis will draw a value: from the left or the bottom, with the scale's padding."""
    forward = math.log10 if log else float
    positions = [forward(v) for v in values if v is not None and (v > 0 or not log)]
    low, high = min(positions), max(positions)
    span = (high - low) or 1.0
    least = 10.0**low if log else low
    return lambda v: PADDING_PX + (size - 2 * PADDING_PX) * (forward(max(v, least)) - low) / span


def zeros(groups: pl.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """The words at points that stand at the edge of a log axis in place of 0; no layer without any."""
    zero_groups = _zero_groups(groups)
    if zero_groups.is_empty():
        return []
    text = alt.Chart(zero_groups).mark_text(
        text=ZERO, align="left", baseline="bottom", dx=ZERO_DX, dy=ZERO_DY, fontSize=11
    )
    return [text.encode(x=x, y=y, color=colour)]


def _zero_groups(groups: pl.DataFrame) -> pl.DataFrame:
    return groups.filter((pl.col("max_vio") == 0) & (pl.col("x") > 0))


def _zero_box(x: float, y: float) -> Box:
    """Where the words at a point for 0 stand."""
    left, bottom = x + ZERO_DX, y + ZERO_DY
    return Box(left, bottom - LINE_PX, left + LETTER_PX * len(ZERO), bottom)
