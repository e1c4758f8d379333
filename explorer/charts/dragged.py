"""Charts whose rows a page replaces in the browser while a slider is dragged.

On release the server's rows take their place. Each chart is bound to the head of the page at an event of its
own (Vega's direct binding); the head's `value` then holds chart -> part -> rows. The parts of a chart are its
data sets, distinguished by their columns. `ui/components/shared/vega_bridge.js` writes the value.
"""

from dataclasses import replace
from typing import Any

from explorer.charts.spec import Spec

EVENT = "moe-rows"
"""The event of a chart is this and its name, joined by a colon."""
PARAM = "dragged"
PLAYHEAD = "playhead"
"""The part that has a parameter and an event of its own, or moving it would draw all lines again."""
KEY = f"{PARAM}_key"
"""A mark with the same row number stays the same element: a new one makes Vega visit the whole drawing."""
BARS = "bars"
HOVER = "points"
"""Name of the layer of points that appear under the pointer, see `charts.series.hover_points`."""
_PLACED = {"end", "text", "light", "dark", "strong", "shift"}
PARTS: dict[str, set[str]] = {
    "lines": {"run", "run_id", "x", "value", "low", "high", "first_step", "last_step"},
    "reference": {"value", "p95"},
    "texts": {"value", *_PLACED},
    "trajectories": {"step", "expert", "value", "light", "dark"},
    "limits": {"limit"},
    BARS: {"step", "expert", "tokens", "load_ratio", "expert_bias", "value"},
    PLAYHEAD: {"playhead", "name"},
    "path": {"step", "dual", "gap"},
    "dual_texts": {"dual", *_PLACED},
    "scores": {"step", "verdict", "part", "score"},
    "score_texts": {"score", *_PLACED},
    "verdicts": {"step", "end", "word"},
    "moves": {"left", "joined", "pairs", "allowed"},
    "deviation": {"step", "deviation"},
    "dots": {"place", "row", "state"},
    "feet": {"expert", "tokens", "bias"},
}
"""Part -> the columns of its data set."""


def follow(spec: Spec, chart: str, last_step: int | None = None) -> Spec:
    """The chart as a page shows it: it draws the rows that its event brings, and its own without any.

    `chart`: its name in the event. `last_step`: of a chart over steps with a playhead. Its x axis is then
    fixed, or Vega would place every line anew when the playhead moves. Data sets that are no part of `PARTS`
    stay as they are.
    """
    parts = {
        name: (part, frame.columns)
        for name, frame in spec.datasets.items()
        for part, columns in PARTS.items()
        if set(frame.columns) == columns
    }
    vega = _followed(spec.vega, chart, parts)
    bound = [_bound(PARAM, chart)]
    if any(part == PLAYHEAD for part, _ in parts.values()):
        vega = _fixed(vega, last_step)
        bound.append(_bound(f"{PARAM}_{PLAYHEAD}", f"{chart}:{PLAYHEAD}"))
    return replace(spec, vega={**vega, "params": [*vega.get("params", ()), *bound]})


def _bound(param: str, event: str) -> dict[str, Any]:
    return {"name": param, "value": "", "bind": {"element": "head", "event": f"{EVENT}:{event}"}}


def _followed(view: Any, chart: str, parts: dict[str, tuple[str, list[str]]]) -> Any:
    """A view and its layers, with the rows of the event in front of their own transforms."""
    result = dict(view)
    if result.get("name") == HOVER:
        # Invisible, and the slowest of all to draw: nobody points at a line while dragging a slider.
        return {**result, "transform": [{"filter": f"!{PARAM}"}, *result.get("transform", ())]}
    if "layer" in result:
        result["layer"] = [_followed(layer, chart, parts) for layer in result["layer"]]
    name = (result.get("data") or {}).get("name")
    if name in parts:
        result["transform"] = [*_rows(chart, *parts[name]), *result.get("transform", ())]
        result["encoding"] = {**result.get("encoding", {}), **_steady(result, parts[name][0])}
    return result


def _steady(view: dict[str, Any], part: str) -> dict[str, Any]:
    """Channels with which marks keep their elements; a line is one element anyway."""
    mark = view.get("mark", "line")
    kind = mark if isinstance(mark, str) else mark["type"]
    channels: dict[str, Any] = {} if kind in ("line", "area") else {"key": {"field": KEY}}
    y = view.get("encoding", {}).get("y", {})
    if part == BARS and "field" in y:
        # One bar per expert: stacked, each would be a group of its own with its own clipping.
        channels["y"] = {**y, "stack": None}
    return channels


def _rows(chart: str, part: str, columns: list[str]) -> list[dict[str, Any]]:
    """Transforms that put the rows of the event in the place of the data set's own.

    The event brings columns, so that an expression is evaluated once per column and not once per value:
    Streamlit's Vega interprets expressions, which is slow.
    """
    param = f"{PARAM}_{PLAYHEAD}" if part == PLAYHEAD else PARAM
    rows = f"({param} && {param}['{chart}'] && {param}['{chart}']['{part}'])"
    return [
        {"window": [{"op": "row_number", "as": f"{PARAM}_number"}]},
        {"filter": f"!{rows} || datum.{PARAM}_number == 1"},
        # Under names of their own: a column that replaced itself would be nested deeper at every event.
        *(
            {
                "calculate": f"{rows} ? {rows}['{column}'] || [] : [datum['{column}']]",
                "as": f"{PARAM}_{column}",
            }
            for column in columns
        ),
        {"flatten": [f"{PARAM}_{column}" for column in columns], "as": columns},
        {"window": [{"op": "row_number", "as": KEY}]},
    ]


def _fixed(view: dict[str, Any], last_step: int | None) -> dict[str, Any]:
    """A view over steps whose x axis does not depend on its rows: marks of the playhead ask for its place."""
    result = dict(view)
    if "layer" in result:
        result["layer"] = [_fixed(layer, last_step) for layer in result["layer"]]
    x = result.get("encoding", {}).get("x", {})
    if "field" in x and last_step is not None:
        scale = {**x.get("scale", {}), "zero": False, "nice": False, "domain": [0, max(last_step, 1)]}
        result["encoding"] = {**result["encoding"], "x": {**x, "scale": scale}}
    return result
