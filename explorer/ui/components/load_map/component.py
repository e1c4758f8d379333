"""The heatmap as a Python function: drawn in the browser, reports the cell that was clicked."""

from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from explorer.charts import linking, scales, theme
from explorer.ui.components import modules
from explorer.ui.components.load_map.payload import LoadMap

FOLDER = Path(__file__).parent

_LOAD_MAP = st.components.v2.component(
    "moe_load_map",
    html=(FOLDER / "load_map.html").read_text(encoding="utf-8"),
    css=(FOLDER / "load_map.css").read_text(encoding="utf-8") + modules.TIP_CSS,
    js=modules.script(FOLDER / "load_map.js"),
)


class Cell(TypedDict):
    """A cell of a heatmap."""

    expert: int
    first_step: int


def load_map(
    map_rows: LoadMap,
    *,
    title: str,
    alt: str,
    key: str,
    scope: str,
    height: int,
    marked: bool,
    scale: float = 1.0,
) -> Cell | None:
    """Draw the heatmap; the cell whose click or Enter caused this rerun, if one did.

    A change of `map_rows` is one message and one drawing: nothing is laid out anew. scope: the expert under
    the pointer is highlighted in every chart of the same (`charts.linking`). height: of the plot, in pixels.
    marked: whether there is room for event marks, which figures beside each other share. scale: enlargement
    of a lecture.
    """
    inks = scales.stops()
    data = {
        **map_rows.data,
        "title": title,
        "alt": alt,
        "scope": linking.event_name(scope),
        "height": max(1, height // map_rows.experts) * map_rows.experts,
        "marked": marked,
        "scale": scale,
        "limit": scales.LOAD_LIMIT,
        "colours": {
            side: {"stops": [getattr(ink, side) for ink in inks], "dead": getattr(theme.DEAD, side)}
            for side in ("light", "dark")
        },
    }
    result = _LOAD_MAP(key=key, data=data, on_picked_change=lambda: None)
    return _cell(result.get("picked") if result is not None else None)


def _cell(value: Any) -> Cell | None:
    """The trigger value, checked: it comes from a browser."""
    if not isinstance(value, dict):
        return None
    expert, step = value.get("expert"), value.get("first_step")
    if type(expert) is not int or type(step) is not int:
        return None
    return {"expert": expert, "first_step": step}
