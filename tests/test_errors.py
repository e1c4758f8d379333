"""Sentences stay short, and exist, whatever value they repeat."""

import pytest

from explorer.errors import ConfigError


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 200_000, " … "),
        (10**5000, "an int too long to print"),
        (nested(100_000), "a list too long to print"),
        (["y"] * 5000, " … "),
        (9, "9"),
        ("\udcff", "'\\udcff'"),
    ],
    ids=["text", "number", "nested", "list", "short", "no UTF-8"],
)
def test_any_value_can_be_repeated(value: object, shown: str) -> None:
    sentence = str(ConfigError("field", value, "breaks a rule", "change it"))
    assert sentence.startswith("field = ")
    assert shown in sentence
    assert sentence.endswith(": breaks a rule; change it.")
    assert len(sentence) < 300
    assert sentence.encode()
