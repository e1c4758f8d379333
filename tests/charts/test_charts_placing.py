"""Words beside points that lie together: apart from each other, off the marks, next to their own point."""

import itertools
import random

import pytest

from explorer.charts.placing import (
    LETTER_PX,
    LINE_PX,
    MARK_COST,
    WORD_COST,
    Box,
    _cost_of_leader,
    leader,
    place_words,
    without_overlaps,
)

Word = tuple[str, float, float]


def boxes(words: list[Word], places: list[tuple[float, float]]) -> list[Box]:
    return [
        Box.around(x + dx, y + dy, LETTER_PX * len(text), LINE_PX)
        for (text, x, y), (dx, dy) in zip(words, places, strict=True)
    ]


def marks(words: list[Word]) -> list[Box]:
    return [Box.around(x, y, 16, 16) for _, x, y in words]


def test_one_word_stands_beside_its_point() -> None:
    word = ("α = 0.1", 100.0, 100.0)
    (box,) = boxes([word], place_words([word], marks([word])))
    assert box.shared(marks([word])[0]) == 0
    assert box.distance(100.0, 100.0) < 20


def test_words_of_a_crowd_keep_apart_and_near_their_points() -> None:
    """About what the shipped runs look like on a narrow page."""
    crowd = [("α = 1", 60.0, 390.0), ("α = 0.1", 68.0, 428.0), ("α = 0.1", 80.0, 405.0)]
    crowd += [("u = 0.003", 52.0, 438.0), ("u = 0.03", 148.0, 428.0), ("α = 0.01", 164.0, 424.0)]
    crowd += [("α = 0.01", 166.0, 438.0)]
    placed = boxes(crowd, place_words(crowd, marks(crowd), frame=Box(0, 0, 500, 480)))
    for one, other in itertools.combinations(placed, 2):
        assert one.shared(other) == 0
    for box, (_, x, y) in zip(placed, crowd, strict=True):
        assert all(box.distance(x, y) <= box.distance(a, b) for _, a, b in crowd)


def test_a_word_at_the_edge_stays_inside() -> None:
    word = ("α = 1, raw scores", 466.0, 200.0)
    frame = Box(0, 0, 500, 480)
    (box,) = boxes([word], place_words([word], marks([word]), frame=frame))
    assert frame.left <= box.left
    assert box.right <= frame.right


def test_a_word_does_not_lie_on_a_line_when_there_is_room() -> None:
    word = ("α = 1", 100.0, 100.0)
    along = [((100.0, 100.0), (180.0, 84.0)), ((100.0, 100.0), (180.0, 116.0))]
    ((dx, _),) = place_words([word], marks([word]), along)
    assert dx <= 0


def test_a_word_without_room_beside_its_point_stands_away_on_a_line() -> None:
    word = ("u = 0.03", 200.0, 200.0)
    wall = [Box.around(200.0 + dx, 200.0 + dy, 18, 18) for dx in range(-90, 91, 15) for dy in (-15, 0, 15)]
    ((dx, dy),) = place_words([word], wall)
    (box,) = boxes([word], [(dx, dy)])
    assert not any(box.shared(mark) for mark in wall)
    line = leader(word[0], dx, dy)
    assert line is not None
    start, end = line
    assert 5 < abs(start[0]) + abs(start[1]) < 15
    assert box.distance(200.0 + end[0], 200.0 + end[1]) == pytest.approx(0)


def test_a_word_beside_its_point_needs_no_line() -> None:
    word = ("u = 0.03", 200.0, 200.0)
    assert leader(word[0], *place_words([word], marks([word]))[0]) is None


def test_a_word_keeps_away_from_marks_that_have_none() -> None:
    """It would be read as theirs."""
    word = ("α = 0.001", 100.0, 100.0)
    below = [Box.around(100.0, y, 16, 16) for y in (84.0, 116.0)]
    ((dx, _),) = place_words([word], [*marks([word]), *below])
    assert dx > 0
    nameless = [Box.around(166.0, y, 8, 8) for y in (89.0, 100.0, 111.0)]
    ((dx, _),) = place_words([word], [*marks([word]), *below, *nameless])
    assert dx < 0


@pytest.mark.parametrize("seed", range(5))
def test_the_places_depend_on_the_points_alone(seed: int) -> None:
    numbers = random.Random(seed)
    words = [(f"u = {i}", numbers.uniform(0, 500), numbers.uniform(0, 480)) for i in range(12)]
    assert place_words(words, marks(words)) == place_words(list(words), marks(words))
    assert place_words([], []) == []


def test_of_words_that_meet_the_first_ones_stay() -> None:
    words = [("α = 1", 0.0, 0.0), ("α = 2", 4.0, 0.0), ("α = 3", 200.0, 0.0), ("α = 4", 400.0, 0.0)]
    taken = [Box.around(400.0, 0.0, 10, 10)]
    assert without_overlaps(words, [(0.0, 0.0)] * 4, taken) == [True, False, True, False]
    assert without_overlaps(words, [(0.0, 0.0), (0.0, 40.0), (0.0, 0.0), (0.0, 0.0)]) == [True] * 4


def test_a_leader_costs_what_each_of_its_dots_covers() -> None:
    draw = random.Random(5)

    def some(count: int, size: float) -> list[Box]:
        return [Box.around(draw.uniform(0, 90), draw.uniform(0, 90), size, size) for _ in range(count)]

    costs = []
    for _ in range(20):
        line, words, others = some(6, 4), some(3, 30), some(4, 16)
        expected = sum(WORD_COST * dot.shared(word) for dot in line for word in words)
        expected += sum(MARK_COST * dot.shared(mark) for dot in line for mark in others)
        assert _cost_of_leader(line, words, others) == pytest.approx(expected)
        costs.append(expected)
    assert min(costs) < max(costs)
    assert _cost_of_leader([], some(3, 30), some(4, 16)) == 0
