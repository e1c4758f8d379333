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


def areas(path: str) -> list[float]:
    """Signed area of every polygon of a path: its sign is the direction in which it runs."""
    result = []
    for polygon in path.strip("MZ").split("ZM"):
        corners = [tuple(map(float, corner.split(","))) for corner in polygon.split("L")]
        following = corners[1:] + corners[:1]
        pairs = zip(corners, following, strict=True)
        result.append(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairs) / 2)
    return result


@pytest.mark.parametrize("outline", OUTLINES)
@pytest.mark.parametrize("nth", range(1, NUM_MARKS))
def test_the_hole_of_a_mark_stays_empty(outline: str, nth: int) -> None:
    """A hole runs the other way round; what lies inside it runs as the outline does, and is filled again."""
    around, hole, *inside = areas(mark_of(outline, nth))
    assert around > 0 > hole
    assert around > -hole
    assert all(0 < area < around for area in inside)
    assert len(inside) == (nth > 1)
