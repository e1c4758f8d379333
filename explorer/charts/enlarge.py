"""Charts for a lecture hall: text, marks and plot enlarged by one factor.

Everything in pixels grows together, so that labels which were moved apart for a height stay apart.
"""

from typing import Any

PIXELS = {
    "fontSize",
    "labelFontSize",
    "titleFontSize",
    "lineHeight",
    "dx",
    "dy",
    "offset",
    "labelLimit",
    "labelPadding",
    "titlePadding",
    "symbolStrokeWidth",
    "strokeWidth",
}
AREAS = {"size", "symbolSize"}
"""Marks are sized by their area."""
LETTERS = 12
"""Pixels of the letters of axes and legends, where a figure does not say."""


def enlarged(vega: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same Vega-Lite, `factor` times as large; its width is still that of its place."""
    result: dict[str, Any] = _grown(vega, factor)
    if isinstance(vega.get("height"), int | float):
        result["height"] = round(vega["height"] * factor)
    letters = round(LETTERS * factor)
    texts = {"labelFontSize": letters, "titleFontSize": letters}
    config = dict(result.get("config", {}))
    for part in ("axis", "legend", "header"):
        config[part] = {**texts, **config.get(part, {})}
    config["title"] = {"fontSize": round(15 * factor), **config.get("title", {})}
    return {**result, "config": config}


def _grown(node: Any, factor: float) -> Any:
    if isinstance(node, dict):
        return {
            key: value if key == "datasets" else _scaled(key, value, factor) for key, value in node.items()
        }
    if isinstance(node, list):
        return [_grown(item, factor) for item in node]
    return node


def _scaled(key: str, value: Any, factor: float) -> Any:
    by = factor if key in PIXELS else factor**2 if key in AREAS else None
    if by is None:
        return _grown(value, factor)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value * by, 2)
    if isinstance(value, dict) and set(value) == {"expr"}:
        return {"expr": f"{by:g} * ({value['expr']})"}
    if isinstance(value, dict) and "value" in value:
        # A channel such as `strokeWidth: {condition: …, value: 1}`; one with a field has a scale and stays.
        return {
            k: _scaled(key, v, factor) if k == "value" else _conditions(key, v, factor)
            for k, v in value.items()
        }
    return value


def _conditions(key: str, node: Any, factor: float) -> Any:
    """A value and those of its conditions."""
    if isinstance(node, dict):
        other = {"condition": _conditions(key, node["condition"], factor)} if "condition" in node else {}
        value = {"value": _scaled(key, node["value"], factor)} if "value" in node else {}
        return {**node, **other, **value}
    if isinstance(node, list):
        return [_conditions(key, item, factor) for item in node]
    return node
