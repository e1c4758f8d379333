"""Channels are named by class: a string costs Altair three milliseconds, and a page has a hundred."""

import ast
from pathlib import Path

from altair.utils import schemapi

from explorer.charts import theme

CHARTS = Path(theme.__file__).parent


def test_no_channel_is_a_string_or_a_bare_value() -> None:
    slow = []
    for file in sorted(CHARTS.glob("*.py")):
        calls = [n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr == "encode":
                slow += [f"{file.name}:{k.value.lineno}" for k in call.keywords if _is_slow(k.value)]
    assert slow == []


def _is_slow(value: ast.expr) -> bool:
    if isinstance(value, ast.List):
        return any(map(_is_slow, value.elts))
    text = ast.unparse(value)
    return isinstance(value, ast.Constant | ast.JoinedStr) or text.startswith("alt.value(")


def test_objects_are_not_validated_one_by_one() -> None:
    assert not schemapi.DEBUG_MODE
