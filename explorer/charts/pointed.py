"""Charts whose points for the pointer come only once there is a pointer.

The points that say what a line's value is (`charts.series.hover_points`) are invisible, and yet two elements
each: there are thousands of them where a line is one. A page makes every chart many times, and most of these
are never pointed at.
"""

from typing import Any

from explorer.charts.dragged import HOVER

_IS_POINTED_AT = "isTuple(unit)"
"""Vega-Lite's own signal of every chart with a selection: the view that the pointer moved over last."""


def waiting(vega: dict[str, Any]) -> dict[str, Any]:
    """The specification as a page shows it; a file keeps its points."""
    if vega.get("name") == HOVER:
        return {**vega, "transform": [{"filter": _IS_POINTED_AT}, *vega.get("transform", ())]}
    if "layer" in vega:
        return {**vega, "layer": [waiting(layer) for layer in vega["layer"]]}
    return vega
