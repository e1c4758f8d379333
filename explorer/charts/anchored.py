"""Marks that stand on the axes of a figure's other layers, without a say in how far these reach.

A layer whose rows may be missing (events, a playhead, labels) would otherwise give its axis an extent from
nothing, of which Vega warns.
"""

from typing import Any

import altair as alt

_VALUES: dict[str, Any] = {"x": alt.XValue, "x2": alt.X2Value, "y": alt.YValue, "y2": alt.Y2Value}
_ACROSS = {"x": ("y", "height"), "y": ("x", "width")}
"""Axis -> the other one, and the signal that is its length."""


def anchored(chart: alt.Chart) -> alt.Chart:
    """The chart with its places in pixels, by the scales that the other layers make.

    A rule or a rectangle that names one axis alone goes across the whole plot, as it does by a field. The
    fields of places must not be null: a scale takes null for 0.
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
