"""Sentences stay short, and exist, whatever value they repeat."""

import pytest

from explorer.errors import ConfigError, choose_one


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


def test_a_few_names_are_listed_whole_and_of_many_the_most_similar() -> None:
    assert choose_one("x", ["a", "b"]) == "choose one of a, b"
    assert choose_one("x", []) == "there is none to choose"
    names = [f"standard-{rule}-seed{seed}" for rule in ("none", "aux_loss", "loss_free") for seed in range(9)]
    remedy = choose_one("none-seed4", names)
    assert remedy.startswith("choose one of standard-none-seed4, ")
    assert remedy.endswith(" or 21 others")
    assert remedy.count(",") == 5
