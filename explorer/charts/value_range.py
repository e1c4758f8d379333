"""Position of values along an axis that is drawn by hand, because each row of a chart has its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

MARGIN = 0.06
"""Space beyond the outermost values, as a share of their spread."""


@dataclass(frozen=True)
class ValueRange:
    """Value -> share of the width, 0 to 1; what lies outside (an infinite edge) stands at the border."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> "ValueRange":
        """The range that holds these finite values with a margin."""
        pad = (max(values) - min(values)) * MARGIN or 1.0
        return cls(min(values) - pad, max(values) + pad)

    def __call__(self, value: float) -> float:
        return float(min(1.0, max(0.0, (value - self.low) / (self.high - self.low))))

    def ticks(self, count: int = 4) -> list[float]:
        """About `count` round numbers inside the range."""
        raw = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        inside = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [round(k * step, 12) for k in inside]


def across(field: str) -> alt.X:
    """The x channel of places that a `ValueRange` gives.

    The same in every layer: Vega-Lite cannot merge "no axis" with an axis of its own.
    """
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, 1]))


def down(field: str, height: int) -> alt.Y:
    """The y channel of places in pixels from the top of a chart of this height."""
    return alt.Y(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, height], reverse=True))
