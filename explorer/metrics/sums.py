"""Whether the counts of a layer add up to K x T: where they do not, the loop counted something else.

Load shares may still be right then, but the random-routing baseline assumes another number of tokens, and
runs that count differently are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 0.01
"""So far a sum may be off: padding and rounding are not worth a sentence."""
STEADY = 0.02
"""A wrong way of counting gives one ratio in every step; tokens that were dropped give many."""
FAR = (0.5, 1.5)
"""Outside of this no dropped token explains a ratio, steady or not."""
MOST_PARTS = 4096


@dataclass(frozen=True, kw_only=True)
class CountSums:
    """How the counts of some layers relate to K x T, in the middle one of the steps looked at."""

    ratio: float
    counted: int
    """Assignments of a layer in that step."""
    promised: int
    """K x T."""
    top_k: int
    step: int
    layers: tuple[int, ...]
    """The layers that are off."""
    all_layers: bool

    @property
    def cause(self) -> str:
        """What would give this ratio; empty where nothing plain does."""
        return likely_cause(self.ratio, self.top_k)


def nearest_ratio(
    counts: Sequence[ArrayLike], promises: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ratio, promise) of the pair of a count and a promise that fits best, element by element.

    NaN where no promise is known (NaN or 0).
    """
    pairs = [(np.asarray(c, float), np.asarray(p, float)) for c in counts for p in promises]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([count / promise for count, promise in pairs])
        distance = np.where(np.isfinite(ratios), np.abs(np.log(ratios)), np.nan)
    distance = np.where(np.isnan(distance), np.inf, distance)
    # A ratio of 0 is as far as one that is not known, and comes first.
    distance = np.where(ratios == 0, np.finfo(float).max, distance)
    best = distance.argmin(0)[None]
    known = np.isfinite(np.take_along_axis(distance, best, 0)[0])
    ratio = np.take_along_axis(ratios, best, 0)[0]
    promise = np.take_along_axis(np.stack([promise for _, promise in pairs]), best, 0)[0]
    return np.where(known, ratio, np.nan), np.where(known, promise, np.nan)


def is_off(ratios: ArrayLike) -> bool:
    """Whether the ratios of one layer over some steps indicate a different way of counting."""
    known = np.asarray(ratios, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return False
    middle = float(np.median(known))
    if abs(middle - 1) <= TOLERANCE:
        return False
    low, high = np.quantile(known, (0.05, 0.95))
    return bool(high - low <= STEADY * middle or not FAR[0] <= middle <= FAR[1])


def likely_cause(ratio: float, top_k: int) -> str:
    """What would give this ratio, in words.

    >>> likely_cause(0.125, 2)
    'one of 8 ranks or micro-batches was counted'
    >>> likely_cause(1.5, 2)
    'a shared expert was counted with the routed ones'
    """
    if ratio <= 0:
        return "nothing was counted"
    if top_k > 1 and _is_about(ratio, 1 / top_k):
        return f"only the first of {top_k} choices was counted, or one of {top_k} ranks or micro-batches"
    parts = round(1 / ratio)
    if 2 <= parts <= MOST_PARTS and _is_about(ratio, 1 / parts):
        return f"one of {parts} ranks or micro-batches was counted"
    shared = top_k > 0 and _is_about(ratio, (top_k + 1) / top_k)
    times = round(ratio)
    several = times >= 2 and _is_about(ratio, times)
    again = (
        f"every token was counted {times} times (again in a recomputed forward pass, or over several steps)"
    )
    if shared and several:
        return f"a shared expert was counted with the routed ones, or {again}"
    if shared:
        return "a shared expert was counted with the routed ones"
    return again if several else ""


def _is_about(value: float, wanted: float) -> bool:
    return abs(value / wanted - 1) <= TOLERANCE
