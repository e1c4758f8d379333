"""Places for words beside points that lie together: each word where it covers the least."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LETTER_PX, LINE_PX = 5.9, 12.0
"""About the size of a letter at 11 pixels."""
NEAR_PX, FAR_PX = 11.0, 20.0
AWAY_PX = (34.0, 50.0, 66.0)
"""Distances from the point, for places where the word needs a line to it."""
POINT_PX = 9.0
"""About the radius of a mark, where such a line begins."""
LEADER_FROM_PX = 24.0
WORD_COST, MARK_COST, LINE_COST, FAR_COST, STRAY_COST = 6.0, 4.0, 0.3, 60.0, 120.0
NAMELESS_COST = 20.0
"""Of a word that lies nearer to another mark, one without a word of its own."""
AWAY_COST = 3.0
"""Per pixel of distance if a line is needed: more than a crowded place nearby, less than a covered word."""
LINE_SAMPLES, LEADER_SAMPLES = 24, 8
Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> "Box":
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @classmethod
    def over(cls, boxes: Sequence["Box"]) -> "Box":
        """The smallest box that covers all of these."""
        return cls(
            min(box.left for box in boxes),
            min(box.top for box in boxes),
            max(box.right for box in boxes),
            max(box.bottom for box in boxes),
        )

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre, to a tenth of a pixel."""
        return _rounded((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def distance(self, x: float, y: float) -> float:
        """Pixels from a point to the nearest edge; 0 inside."""
        return max(self.left - x, 0.0, x - self.right) + max(self.top - y, 0.0, y - self.bottom)

    def shared(self, other: "Box") -> float:
        """Square pixels that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0


def place_words(
    words: Sequence[tuple[str, float, float]],
    marks: Sequence[Box],
    lines: Sequence[Line] = (),
    frame: Box | None = None,
) -> list[tuple[float, float]]:
    """(dx, dy) from each point to the middle of its word, in the order given; y downwards, in pixels.

    words: (text, x, y) of the point it names. Greedy: words in crowded places choose first, among places
    around the point, the one that covers the least of other words, of marks, and of lines. The furthest
    places need a line to the point, see `leader`. A place outside `frame` is taken only when there is no
    other.
    """
    near = [sum(abs(x - a) + abs(y - b) < 90 for _, a, b in words) for _, x, y in words]
    order = sorted(range(len(words)), key=lambda i: (-near[i], words[i][1]))
    dots = [dot for start, end in lines for dot in _along(start, end)]
    taken: list[Box] = []
    offsets: list[tuple[float, float]] = [(0.0, 0.0)] * len(words)
    for i in order:
        word = _Word(*words[i])
        named = {_rounded(a, b) for _, a, b in words} - {_rounded(word.x, word.y)}
        cost, dx, dy = _cheapest(word, _places(word.width), (taken, marks, dots), named, frame)
        if cost > AWAY_COST * AWAY_PX[0]:
            away = _cheapest(word, _places_away(word.width), (taken, marks, dots), named, frame)
            _, dx, dy = min((cost, dx, dy), away, key=lambda one: one[0])
        taken += [word.box(dx, dy), *word.leader_dots(dx, dy)]
        offsets[i] = (dx, dy)
    return offsets


@dataclass(frozen=True)
class _Word:
    """A word and the point that it names."""

    text: str
    x: float
    y: float

    @property
    def width(self) -> float:
        return LETTER_PX * len(self.text)

    def box(self, dx: float, dy: float) -> Box:
        return Box.around(self.x + dx, self.y + dy, self.width, LINE_PX)

    def leader_dots(self, dx: float, dy: float) -> list[Box]:
        """The line to the word at this offset as small squares; none for a word close by."""
        line = leader(self.text, dx, dy)
        if line is None:
            return []
        start, end = ((self.x + a, self.y + b) for a, b in line)
        return list(_along(start, end, samples=LEADER_SAMPLES))


def _cheapest(
    word: _Word,
    places: Iterable[tuple[float, float, float]],
    around: tuple[Sequence[Box], Sequence[Box], Sequence[Box]],
    named: set[tuple[float, float]],
    frame: Box | None,
) -> tuple[float, float, float]:
    """(cost, dx, dy) of the best of these places.

    around: other words with their lines, marks, and lines between points as small squares. named: the
    points of the other words.
    """
    boxes = [(extra, dx, dy, word.box(dx, dy)) for dx, dy, extra in places]
    # Most of what stands around is out of reach of all these places.
    reach = Box.over([box for *_, box in boxes])
    words_near, marks_near, dots_near = ([one for one in kind if reach.shared(one)] for kind in around)
    marks_of_others = [mark for mark in marks_near if mark.middle != _rounded(word.x, word.y)]
    nameless = {mark.middle for mark in marks_of_others} - named
    best = (math.inf, 0.0, 0.0)
    for extra, dx, dy, box in boxes:
        # A cost only grows, so a place is rejected as soon as it costs as much as the best so far.
        if extra >= best[0]:
            continue
        cost = extra + WORD_COST * sum(map(box.shared, words_near))
        cost += MARK_COST * sum(map(box.shared, marks_near))
        cost += LINE_COST * sum(map(box.shared, dots_near))
        if frame is not None:
            cost += WORD_COST * (word.width * LINE_PX - box.shared(frame))
        if cost >= best[0]:
            continue
        line = word.leader_dots(dx, dy)
        cost += _cost_of_leader(line, words_near, marks_of_others)
        # A word that lies nearer to another point would be read as belonging to it, unless there is a line.
        limit = NEAR_PX if line else box.distance(word.x, word.y)
        cost += STRAY_COST * sum(box.distance(*other) < limit for other in named)
        cost += NAMELESS_COST * sum(box.distance(*other) < limit for other in nameless)
        best = min(best, (cost, dx, dy), key=lambda one: one[0])
    return best


def _cost_of_leader(line: Sequence[Box], words: Sequence[Box], marks: Sequence[Box]) -> float:
    """Cost of what a word's leader line covers; 0 without a line."""
    if not line:
        return 0.0
    whole = Box.over(line)
    words_near, marks_near = ([one for one in kind if whole.shared(one)] for kind in (words, marks))
    return sum(
        WORD_COST * sum(map(dot.shared, words_near)) + MARK_COST * sum(map(dot.shared, marks_near))
        for dot in line
    )


def _rounded(x: float, y: float) -> tuple[float, float]:
    return round(x, 1), round(y, 1)


def leader(text: str, dx: float, dy: float) -> Line | None:
    """The line from the edge of a mark to its word, relative to the point; None for a word close by."""
    box = Box.around(dx, dy, LETTER_PX * len(text), LINE_PX)
    x, y = min(max(0.0, box.left), box.right), min(max(0.0, box.top), box.bottom)
    length = math.hypot(x, y)
    if length < LEADER_FROM_PX:
        return None
    return (x * POINT_PX / length, y * POINT_PX / length), (x, y)


def without_overlaps(
    words: Sequence[tuple[str, float, float]],
    offsets: Sequence[tuple[float, float]],
    taken: Sequence[Box] = (),
) -> list[bool]:
    """Which of these words can stand at their offsets and cover neither each other nor `taken`.

    words: (text, x, y) of the point each one names. Greedy, in the order given.
    """
    kept = list(taken)
    is_kept = []
    for (text, x, y), (dx, dy) in zip(words, offsets, strict=True):
        box = Box.around(x + dx, y + dy, LETTER_PX * len(text), LINE_PX)
        is_free = not any(box.shared(other) for other in kept)
        is_kept.append(is_free)
        if is_free:
            kept.append(box)
    return is_kept


def _places(wide: float) -> Iterator[tuple[float, float, float]]:
    """(dx, dy, cost of being there): beside, above and below, and the same further away."""
    for gap, extra in ((NEAR_PX, 0.0), (FAR_PX, FAR_COST)):
        side = gap + wide / 2
        yield from ((side * 0.9, -gap, extra), (side * 0.9, gap, extra), (0.0, -gap - 4, extra))
        yield from ((0.0, gap + 4, extra), (-side * 0.9, -gap, extra), (-side * 0.9, gap, extra))
        yield from ((side + 2, 0.0, extra + 1), (-side - 2, 0.0, extra + 1))


def _places_away(wide: float) -> Iterator[tuple[float, float, float]]:
    """The same for places that need a line."""
    for gap in AWAY_PX:
        for dx in (0.0, wide / 2, -wide / 2, wide, -wide):
            yield from ((dx, dy, AWAY_COST * math.hypot(dx, gap)) for dy in (-gap, gap))


def _along(
    start: tuple[float, float], end: tuple[float, float], samples: int = LINE_SAMPLES
) -> Iterator[Box]:
    """A line as small squares."""
    for step in range(samples + 1):
        share = step / samples
        x, y = start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
        yield Box.around(x, y, 4, 4)
