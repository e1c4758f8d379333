"""Marks placed by the scales of a figure's other layers, so that they do not extend the axes.

A layer that may have no rows (events, a playhead, labels) would otherwise add an undefined extent to its
axis, and Vega warns about that.
"""

from typing import Any

import altair as alt

_VALUES: dict[str, Any] = {"x": alt.XValue, "x2": alt.X2Value, "y": alt.YValue, "y2": alt.Y2Value}
_ACROSS = {"x": ("y", "height"), "y": ("x", "width")}
"""Axis -> the other axis, and the signal that holds the length of that one."""
EDGE_PX = 8
"""How far outside the plot a mark may lie and still be shown: a bin stands at its end, so the axis may begin
a little after the first step."""


def anchored(chart: alt.Chart) -> alt.Chart:
    """The chart with its positions in pixels, by the scales of the other layers.

    A rule or a rectangle with a position on one axis only goes across the whole plot, as it does with a
    field. The fields must not be null: a scale takes null for 0.
    """
    fields = {name: field for name in _VALUES if (field := _field(chart, name))}
    places = {name: _VALUES[name](alt.expr(at(name[0], field))) for name, field in fields.items()}
    axes = {name[0] for name in _VALUES if getattr(chart.encoding, name) is not alt.Undefined}
    if _kind(chart) in ("rule", "rect") and len(axes) == 1 and fields:
        other, length = _ACROSS[next(iter(axes))]
        places |= {other: _VALUES[other](0), f"{other}2": _VALUES[f"{other}2"](length)}
    result: alt.Chart = chart.encode(**places)
    return result


def at(axis: str, field: str) -> str:
    """Vega expression: the pixel at which an axis (x or y) has the value of a field."""
    return f"scale('{axis}', datum.{field})"


def _field(chart: alt.Chart, channel: str) -> str:
    """The field of a channel, empty where it has none."""
    shorthand = getattr(getattr(chart.encoding, channel, None), "shorthand", None)
    return shorthand.partition(":")[0] if isinstance(shorthand, str) else ""


def _kind(chart: alt.Chart) -> str:
    return str(getattr(chart.mark, "type", chart.mark))
