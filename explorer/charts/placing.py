"""Places for words beside points that lie together: each word where it covers the least."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LETTER_PX, LINE_PX = 5.9, 12.0
"""About the size of a letter at 11 pixels."""
NEAR_PX, FAR_PX = 11.0, 20.0
WORD_COST, MARK_COST, LINE_COST, FAR_COST, STRAY_COST = 6.0, 2.0, 0.3, 60.0, 120.0
LINE_SAMPLES = 24


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
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    frame: Box | None = None,
) -> list[tuple[float, float]]:
    """(dx, dy) from each point to the middle of its word, in the order given; y downwards, in pixels.

    words: (text, x, y) of the point it names. Greedy: words in crowded places choose first, among sixteen
    places around the point, the one that covers the least of other words, of marks, and of lines. A place
    outside `frame` is taken only when there is no other.
    """
    near = [sum(abs(x - a) + abs(y - b) < 90 for _, a, b in words) for _, x, y in words]
    order = sorted(range(len(words)), key=lambda i: (-near[i], words[i][1]))
    dots = [dot for start, end in lines for dot in _along(start, end)]
    taken: list[Box] = []
    offsets: list[tuple[float, float]] = [(0.0, 0.0)] * len(words)
    for i in order:
        text, x, y = words[i]
        wide = LETTER_PX * len(text)
        places = [
            (extra, dx, dy, Box.around(x + dx, y + dy, wide, LINE_PX)) for dx, dy, extra in _places(wide)
        ]
        # Most boxes are out of reach of all sixteen places.
        reach = Box.over([box for *_, box in places])
        words_near, marks_near, dots_near = (
            [box for box in boxes if reach.shared(box)] for boxes in (taken, marks, dots)
        )
        costs = []
        for number, (extra, dx, dy, box) in enumerate(places):
            cost = extra + WORD_COST * sum(map(box.shared, words_near))
            cost += MARK_COST * sum(map(box.shared, marks_near))
            cost += LINE_COST * sum(map(box.shared, dots_near))
            # A word that lies nearer to another point would be read as that one's.
            cost += STRAY_COST * sum(box.distance(a, b) < box.distance(x, y) for _, a, b in words)
            if frame is not None:
                cost += WORD_COST * (wide * LINE_PX - box.shared(frame))
            costs.append((cost, number, dx, dy, box))
        _, _, dx, dy, box = min(costs, key=lambda c: c[:2])
        taken.append(box)
        offsets[i] = (dx, dy)
    return offsets


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


def _along(start: tuple[float, float], end: tuple[float, float]) -> Iterator[Box]:
    """A line as small squares."""
    for step in range(LINE_SAMPLES + 1):
        share = step / LINE_SAMPLES
        x, y = start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
        yield Box.around(x, y, 4, 4)
