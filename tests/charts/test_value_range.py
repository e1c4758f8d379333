"""Axes drawn by hand: differences on Compare and comparisons of claims on Evidence."""

import math

from explorer.charts.value_range import ValueRange


def test_values_lie_inside_and_infinite_edges_at_the_border() -> None:
    scale = ValueRange.around([-1.0, 0.0, 3.0])
    assert 0 < scale(-1.0) < scale(0.0) < scale(3.0) < 1
    assert (scale(-math.inf), scale(math.inf)) == (0.0, 1.0)


def test_equal_values_get_room() -> None:
    assert ValueRange.around([2.0, 2.0])(2.0) == 0.5


def test_ticks_are_round_and_inside() -> None:
    assert ValueRange(-1.3, 2.1).ticks() == [-1.0, 0.0, 1.0, 2.0]
    assert ValueRange(0.0101, 0.0499).ticks(4) == [0.02, 0.03, 0.04]
