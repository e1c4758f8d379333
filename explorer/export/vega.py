"""A figure as self-contained Vega-Lite: embedded data, a fixed width, no dependence on a page."""

import json
from typing import Any

import polars as pl
import polars.selectors as cs

from explorer.charts import theme
from explorer.charts.spec import Spec
from explorer.figures.panel import Panel

PLAYHEAD_PARAM = "playhead"
TARGET_OPACITY = 0.001
"""Opacity of marks that only serve hovering: with 0 Vega would ignore the pointer over them."""
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
Vega = dict[str, Any]


def complete(panel: Panel, *, dark: bool = False, still: bool = True) -> Vega:
    """The figure, except for width and title.

    still: leave out marks that only appear on hover, which would be thousands of invisible marks.
    """
    vega = panel.spec.at(panel.playhead)
    frames: dict[str, pl.DataFrame] = vega.pop("datasets")
    vega = _unbound(vega, panel.playhead)
    if still:
        vega = _without_targets(_without_hover(vega))
    used = _names(vega)
    datasets = {name: rows(frame) for name, frame in frames.items() if name in used}
    look = {**vega.pop("config", {}), **theme.file_config(dark=dark)}
    vega.pop("title", None)
    return {
        "$schema": SCHEMA,
        **vega,
        "background": theme.file_background(dark),
        "padding": 2,
        "config": look,
        "datasets": datasets,
    }


def follows_player(spec: Spec) -> bool:
    """Whether the page moves the playhead of a figure."""
    return any(param.get("name") == PLAYHEAD_PARAM for param in _params(spec.vega))


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """JSON rows: non-finite numbers become null."""
    finite = pl.when(cs.float().is_finite()).then(cs.float()).otherwise(None)
    return frame.with_columns(finite.name.keep()).to_dicts()


def to_json(vega: Vega, indent: int | None = None) -> str:
    return json.dumps(vega, ensure_ascii=False, allow_nan=False, indent=indent, default=str)


def _params(part: Any) -> list[Vega]:
    """Every parameter, including those of inner layers."""
    if isinstance(part, list):
        return [param for item in part for param in _params(item)]
    if not isinstance(part, dict):
        return []
    own = [param for param in part.get("params", ()) if isinstance(param, dict)]
    return own + [param for value in part.values() for param in _params(value)]


def _unbound(part: Any, playhead: float | None) -> Any:
    """The chart without parameters bound to page elements; the playhead keeps its step."""
    if isinstance(part, list):
        return [_unbound(item, playhead) for item in part]
    if not isinstance(part, dict):
        return part
    result = {key: _unbound(value, playhead) for key, value in part.items()}
    if isinstance(part.get("params"), list):
        result["params"] = [_free(param, playhead) for param in part["params"]]
    return result


def _free(param: Vega, playhead: float | None) -> Vega:
    bind = param.get("bind")
    if not (isinstance(bind, dict) and "element" in bind):
        return param
    free = {key: value for key, value in param.items() if key != "bind"}
    if param.get("name") == PLAYHEAD_PARAM and playhead is not None:
        free["value"] = int(playhead)
    return free


def _without_hover(vega: Vega) -> Vega:
    """The chart without layers that are invisible until hovered."""
    if "layer" not in vega:
        return vega
    layers = [_without_hover(layer) for layer in vega["layer"] if not _is_hover(layer)]
    gone = {param["name"] for layer in vega["layer"] if _is_hover(layer) for param in layer.get("params", ())}
    gone |= _views_gone(vega)
    params = [param for param in vega.get("params", ()) if param.get("name") not in gone]
    result = {**vega, "layer": layers}
    if "params" in vega:
        result["params"] = params
    return result


def _without_targets(vega: Vega) -> Vega:
    """The chart without invisible hover targets; their selections stay defined."""
    layers = [
        {**layer, "transform": [*layer.get("transform", ()), {"filter": "false"}]}
        if _is_target(layer)
        else layer
        for layer in vega.get("layer", ())
    ]
    return {**vega, "layer": layers} if layers else vega


def _is_target(layer: Vega) -> bool:
    mark = layer.get("mark")
    return isinstance(mark, dict) and mark.get("opacity") == TARGET_OPACITY


def _views_gone(vega: Vega) -> set[str]:
    """Parameters that Altair has hoisted to the top level but that only belong to a hover layer."""
    views = {layer.get("name") for layer in vega["layer"] if _is_hover(layer)}
    return {
        param["name"]
        for param in vega.get("params", ())
        if param.get("views") and set(param["views"]) <= views
    }


def _is_hover(layer: Vega) -> bool:
    opacity = layer.get("encoding", {}).get("opacity")
    return isinstance(opacity, dict) and "condition" in opacity and opacity.get("value") == 0


def _names(part: Any) -> set[str]:
    """Names of the data sets that are drawn."""
    if isinstance(part, list):
        return set().union(*map(_names, part)) if part else set()
    if not isinstance(part, dict):
        return set()
    data = part.get("data")
    own = {data["name"]} if isinstance(data, dict) and "name" in data else set()
    return own.union(*(_names(value) for value in part.values()))
