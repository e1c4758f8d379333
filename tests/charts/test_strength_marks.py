"""Arms of one rule and scope have marks of their own."""

import re

import pytest

from explorer.charts.plane_rows import SCOPE_SHAPES
from explorer.charts.strength_marks import NUM_MARKS, OUTLINES, mark_of


def test_every_scope_has_an_outline() -> None:
    assert set(SCOPE_SHAPES.values()) <= set(OUTLINES)


@pytest.mark.parametrize("outline", OUTLINES)
def test_marks_of_one_outline_differ_and_begin_anew(outline: str) -> None:
    marks = [mark_of(outline, nth) for nth in range(NUM_MARKS)]
    assert marks[0] == outline
    assert len(set(marks)) == NUM_MARKS
    assert mark_of(outline, NUM_MARKS) == outline


@pytest.mark.parametrize("outline", OUTLINES)
@pytest.mark.parametrize("nth", range(1, NUM_MARKS))
def test_a_path_stays_inside_of_vegas_square(outline: str, nth: int) -> None:
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", mark_of(outline, nth))]
    assert len(numbers) >= 12
    assert max(map(abs, numbers)) <= 1.1
