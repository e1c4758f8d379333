"""Charts for a lecture hall: text, marks and plot enlarged by one factor.

Everything in pixels grows together, so that labels which were moved apart for a height stay apart. On a
phone, font sizes alone stay unchanged: larger labels would leave the plot a third of the page's width.
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
LETTER_SIZES = {"fontSize", "labelFontSize", "titleFontSize"}
AREAS = {"size", "symbolSize"}
"""Marks are sized by their area."""
LETTERS = 12
"""Pixels of the letters of axes and legends, where a figure does not say."""
TITLE = 15
IS_PHONE = "containerSize()[0] < 450"
"""Vega expression. It tests the width of the container: that of the plot depends on the font size."""


def enlarged(vega: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same Vega-Lite, `factor` times as large; its width is still that of its place."""
    result: dict[str, Any] = _grown(vega, factor)
    if isinstance(vega.get("height"), int | float):
        result["height"] = round(vega["height"] * factor)
    letters = _letters(LETTERS, round(LETTERS * factor))
    texts = {"labelFontSize": letters, "titleFontSize": letters}
    config = dict(result.get("config", {}))
    for part in ("axis", "legend", "header"):
        config[part] = {**texts, **config.get(part, {})}
    config["title"] = {"fontSize": _letters(TITLE, round(TITLE * factor)), **config.get("title", {})}
    return {**result, "config": config}


def _letters(usual: float, large: float) -> dict[str, str]:
    return {"expr": f"{IS_PHONE} ? {usual:g} : {large:g}"}


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
        large = round(value * by, 2)
        return _letters(value, large) if key in LETTER_SIZES else large
    if isinstance(value, dict) and set(value) == {"expr"}:
        times = f"({IS_PHONE} ? 1 : {by:g})" if key in LETTER_SIZES else f"{by:g}"
        return {"expr": f"{times} * ({value['expr']})"}
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
