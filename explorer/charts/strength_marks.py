"""Marks of arms that share rule and count scope: the outline shows the scope, the inside the arm.

Lightness alone does not distinguish two strengths of a rule, least of all where points overlap.
"""

import math
from collections.abc import Callable

Point = tuple[float, float]
Polygon = tuple[Point, ...]

_HEIGHT = math.sqrt(3) / 2
_CORNERS = 24
OUTLINES: dict[str, Polygon] = {
    "circle": tuple(
        (math.sin(2 * math.pi * i / _CORNERS), -math.cos(2 * math.pi * i / _CORNERS)) for i in range(_CORNERS)
    ),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "diamond": ((0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)),
    "triangle-up": ((0, -_HEIGHT), (1, _HEIGHT), (-1, _HEIGHT)),
    "triangle-down": ((-1, -_HEIGHT), (1, -_HEIGHT), (0, _HEIGHT)),
    "triangle-left": ((-_HEIGHT, 0), (_HEIGHT, -1), (_HEIGHT, 1)),
    "cross": (
        (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
        (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
    ),
}  # fmt: skip
"""Vega's shape -> its corners clockwise, in Vega's square of -1 to 1."""


def mark_of(outline: str, nth: int) -> str:
    """The shape of the nth arm (from 0) of a rule and scope: the plain one, then paths for Vega.

    outline: one of `OUTLINES`. After the last mark the first is used again.
    """
    return (outline, *(_path(draw(OUTLINES[outline])) for draw in _INSIDES))[nth % NUM_MARKS]


def _ring(corners: Polygon, hole: float) -> list[Polygon]:
    """The outline and, in the opposite direction, a hole of this share of its size."""
    return [corners, tuple(reversed(_scaled(corners, hole)))]


def _scaled(corners: Polygon, share: float) -> Polygon:
    """Scaled about the mean of the corners, which gives the hole of a triangle an even border."""
    middle_x = sum(x for x, _ in corners) / len(corners)
    middle_y = sum(y for _, y in corners) / len(corners)
    return tuple((middle_x + share * (x - middle_x), middle_y + share * (y - middle_y)) for x, y in corners)


def _left_half(corners: Polygon) -> Polygon:
    """The part of a polygon with x ≤ 0."""
    kept: list[Point] = []
    for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
        if x <= 0:
            kept.append((x, y))
        if (x < 0) != (next_x < 0) and x != next_x:
            kept.append((0.0, y - x * (next_y - y) / (next_x - x)))
    return tuple(kept)


_INSIDES: tuple[Callable[[Polygon], list[Polygon]], ...] = (
    lambda corners: _ring(corners, 0.6),
    lambda corners: [*_ring(corners, 0.68), _scaled(corners, 0.36)],
    lambda corners: [*_ring(corners, 0.72), _left_half(corners)],
)
NUM_MARKS = 1 + len(_INSIDES)


def _path(polygons: list[Polygon]) -> str:
    return "".join("M" + "L".join(f"{x:.2f},{y:.2f}" for x, y in corners) + "Z" for corners in polygons)
