"""Check that the counts of a layer add up to K x T; if not, the loop counted something else.

Load fractions may still be correct then, but the random-routing baseline would be for another number of
tokens, and runs that counted differently would be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 0.01
"""Tolerance of a sum, for padding and rounding."""
STEADY = 0.02
"""Maximum spread of the ratio over steps: a counting error gives a constant ratio, dropped tokens do not."""
FAR = (0.5, 1.5)
"""Ratios outside this range cannot be explained by dropped tokens."""
MOST_PARTS = 4096


@dataclass(frozen=True, kw_only=True)
class CountSums:
    """Ratio of some layers' counts to K x T, in the median step of those examined."""

    ratio: float
    counted: int
    """Assignments of a layer in that step."""
    promised: int
    """K x T."""
    top_k: int
    step: int
    layers: tuple[int, ...]
    """The affected layers."""
    all_layers: bool

    @property
    def cause(self) -> str:
        """Likely cause of the ratio; empty if there is no simple one."""
        return likely_cause(self.ratio, self.top_k)


def nearest_ratio(
    counts: Sequence[ArrayLike], promises: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ratio, promise) of the best-matching pair of a count and an expected sum, element by element.

    All arrays and both results are [X], one number for each step; counts and promises are assignments.
    NaN where no expected sum is known (NaN or 0).
    """
    pairs = [(np.asarray(c, float), np.asarray(p, float)) for c in counts for p in promises]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([count / promise for count, promise in pairs])
        distance = np.where(np.isfinite(ratios), np.abs(np.log(ratios)), np.nan)
    distance = np.where(np.isnan(distance), np.inf, distance)
    # A ratio of 0 is as distant as an unknown one, and comes first.
    distance = np.where(ratios == 0, np.finfo(float).max, distance)
    best = distance.argmin(0)[None]
    is_finite = np.isfinite(np.take_along_axis(distance, best, 0)[0])
    ratio = np.take_along_axis(ratios, best, 0)[0]
    promise = np.take_along_axis(np.stack([promise for _, promise in pairs]), best, 0)[0]
    return np.where(is_finite, ratio, np.nan), np.where(is_finite, promise, np.nan)


def is_off(ratios: ArrayLike) -> bool:
    """Whether one layer's ratios [X] of X steps indicate a counting error."""
    finite_ratios = np.asarray(ratios, float)
    finite_ratios = finite_ratios[np.isfinite(finite_ratios)]
    if not len(finite_ratios):
        return False
    middle = float(np.median(finite_ratios))
    if abs(middle - 1) <= TOLERANCE:
        return False
    low, high = np.quantile(finite_ratios, (0.05, 0.95))
    return bool(high - low <= STEADY * middle or not FAR[0] <= middle <= FAR[1])


def likely_cause(ratio: float, top_k: int) -> str:
    """Likely cause of this ratio, in words.

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


def _is_about(value: float, expected: float) -> bool:
    return abs(value / expected - 1) <= TOLERANCE
