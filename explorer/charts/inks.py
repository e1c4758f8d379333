"""Pairs of colours, and what the count scope of a rule makes of its colour and dash."""

from dataclasses import dataclass

import altair as alt

Dash = tuple[int, ...]


IS_DARK = "luminance(background) < 0.3"
"""Vega expression: whether the figure's own background is dark."""


@dataclass(frozen=True)
class Ink:
    """One colour for a light page and one for a dark page."""

    light: str
    dark: str

    def pick(self, dark: bool) -> str:
        return self.dark if dark else self.light

    @property
    def expr(self) -> alt.ExprRef:
        """The Vega expression that chooses by the luminance of the figure's own background."""
        return alt.ExprRef(f"{IS_DARK} ? '{self.dark}' : '{self.light}'")


SHADES: dict[str, float] = {"micro_batch": 0.28, "sequence": 0.5}
"""Count scope -> how far the colour of its rule goes away from the page; other scopes keep the colour."""
_SOLID: tuple[Dash, ...] = ((1, 0), (14, 3), (10, 3, 2, 3), (1, 3), (12, 3, 2, 3, 2, 3), (18, 6))
DASHES: dict[str, tuple[Dash, ...]] = {
    "micro_batch": ((2, 2), (4, 2, 1, 2), (2, 4), (4, 4), (3, 2, 1, 2, 1, 2), (1, 5)),
    "sequence": ((7, 3), (7, 3, 3, 3), (7, 6), (5, 2), (7, 2, 2, 2, 2, 2), (9, 9)),
    "global_buffered": ((20, 3), (20, 3, 4, 3), (24, 8), (16, 4, 8, 4), (16, 2), (28, 4)),
}
"""Count scope -> dash of the first, second … run of one rule with this scope; other scopes start solid."""


def mix(colour: str, other: str, share: float) -> str:
    """`share` of the way from one #rrggbb colour to another."""
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)


def in_scope(ink: Ink, scope: str) -> Ink:
    """The shade of a rule's colour for its count scope: darker on a light page, lighter on a dark one."""
    share = SHADES.get(scope, 0.0)
    return Ink(mix(ink.light, "#000000", share), mix(ink.dark, "#FFFFFF", share)) if share else ink


def dash_of(scope: str, nth: int) -> Dash:
    """The dash of the nth run (from 0) of one rule and count scope."""
    dashes = DASHES.get(scope, _SOLID)
    return dashes[nth % len(dashes)]
