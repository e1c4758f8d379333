"""Charts whose points for the pointer come only once there is a pointer.

The points that say what a line's value is (`charts.series.hover_points`) are invisible, and yet two elements
each: there are thousands of them where a line is one. A page makes every chart many times, and most of these
are never pointed at.
"""

from typing import Any

from explorer.charts.dragged import HOVER
from explorer.charts.inks import IS_DARK
from explorer.charts.linking import ANY_LIT

_IS_POINTED_AT = "isTuple(unit)"
"""Vega-Lite's own signal of every chart with a selection: the view that the pointer moved over last."""


SHARED = {"on_dark": IS_DARK, "any_lit": ANY_LIT}
"""Parameter -> what it stands for in the expressions of marks, which are evaluated for every row."""


def on_page(vega: dict[str, Any]) -> dict[str, Any]:
    """The specification as a page shows it: without points while there is no pointer, and quick to draw.

    What does not depend on the row is found once and not once per row: Streamlit's Vega interprets
    expressions, which is slow.
    """
    names: set[str] = set()
    page = _shared(waiting(vega), names)
    params = [{"name": name, "expr": SHARED[name]} for name in SHARED if name in names]
    return {**page, "params": [*page.get("params", ()), *params]} if params else page


def _shared(part: Any, names: set[str]) -> Any:
    """A part of a specification with the names of the parameters; those that it uses are added to `names`."""
    if isinstance(part, dict):
        return {key: _shared(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_shared(value, names) for value in part]
    if isinstance(part, str):
        for name, expression in SHARED.items():
            if expression in part:
                names.add(name)
                part = part.replace(expression, name)
    return part


def waiting(vega: dict[str, Any]) -> dict[str, Any]:
    """The specification as a page shows it; a file keeps its points."""
    if vega.get("name") == HOVER:
        return {**vega, "transform": [{"filter": _IS_POINTED_AT}, *vega.get("transform", ())]}
    if "layer" in vega:
        return {**vega, "layer": [waiting(layer) for layer in vega["layer"]]}
    return vega
