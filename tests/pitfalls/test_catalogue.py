"""docs/pitfalls.md and the tests agree, so that a test that is deleted or renamed is noticed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBERS = list(range(1, 35))


def listed() -> list[tuple[int, str, str, list[str]]]:
    """The rows of the page: number, pitfall, who, names of tests."""
    rows = re.findall(
        r"^\| P(\d+) \| (.+?) \| (.+?) \| (.+?) \|$",
        (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [(int(number), what, who, re.findall(r"`(\w+)`", tests)) for number, what, who, tests in rows]


def numbered_tests() -> dict[str, list[int]]:
    """Every test whose name begins with pitfalls, and which: test_p09_p11_... has two."""
    numbers = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"^ *def (test_p\d\d_\w*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            prefix = re.match(r"test(_p\d\d)+_", name)
            numbers[name] = [int(number) for number in re.findall(r"\d\d", prefix[0] if prefix else "")]
    return numbers


def test_the_page_has_every_pitfall_once_and_in_order() -> None:
    assert [number for number, *_ in listed()] == NUMBERS


@pytest.mark.parametrize("row", listed(), ids=lambda row: f"P{row[0]}")
def test_a_pitfall_has_the_tests_that_the_page_names(row: tuple[int, str, str, list[str]]) -> None:
    number, _, _, names = row
    assert names, f"docs/pitfalls.md: P{number} names no test"
    there_are = numbered_tests()
    for name in names:
        assert name in there_are, f"docs/pitfalls.md: P{number} names {name}, which does not exist any more"
        assert number in there_are[name], (
            f"docs/pitfalls.md: the name of {name} does not begin with P{number}"
        )


def test_no_test_carries_the_number_of_a_pitfall_that_there_is_not() -> None:
    assert not {
        name: numbers for name, numbers in numbered_tests().items() if not set(numbers) <= set(NUMBERS)
    }
