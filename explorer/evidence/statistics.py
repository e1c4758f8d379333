"""From the paired values of an experiment to an effect and a verdict.

The t interval is `explorer.metrics.statistics`'; the verdict is computed from it alone, after Holm's
correction over all comparisons of the page. The bootstrap interval is shown beside it and decides nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.evidence.experiment import LEAST_PAIRS
from explorer.metrics.statistics import holm, p_value, t_interval

Floats = NDArray[np.float64]

LEAST_FOR_BOOTSTRAP = 20
"""With fewer values the percentile bootstrap covers the truth less often than it says."""
RESAMPLES = 2000
SUPPORTED, CONTRADICTED = "supported", "contradicted"
NOT_RESOLVED = "not resolved at this scale"
NOT_TESTABLE = "not testable here"
NOT_RUN = "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, NOT_RESOLVED, NOT_RUN, NOT_TESTABLE)


@dataclass(frozen=True)
class Region:
    """The values of the true effect under which a claim holds, an open interval."""

    low: float = -math.inf
    high: float = math.inf
    never: bool = False
    """The claim is an identity: the effect counts counter-examples, and one is enough to contradict it."""

    def __str__(self) -> str:
        if self.never:
            return "no counter-example"
        if self.low == -math.inf:
            return f"below {self.high:g}"
        if self.high == math.inf:
            return f"above {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


BELOW, ABOVE, NEVER = Region(high=0.0), Region(low=0.0), Region(never=True)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The mean of paired values with its uncertainty."""

    mean: float
    low: float
    high: float
    """95 % t interval."""
    bootstrap: tuple[float, float] | None
    """95 % percentile bootstrap, from 20 pairs on."""
    pairs: int
    p: float | None
    """Of the nearer edge of the region, two-sided: what Holm's correction takes; None for an identity."""

    @property
    def half_width(self) -> float:
        """The resolution: half the width of the t interval."""
        return (self.high - self.low) / 2


def effect_of(values: Sequence[float], region: Region) -> Effect | None:
    """The effect of paired values; None for fewer than two, and for values that are not all finite."""
    interval = t_interval(values)
    if interval is None or not np.isfinite(values).all():
        return None
    mean, half = interval
    bootstrap = None
    if len(values) >= LEAST_FOR_BOOTSTRAP:
        low, high = bootstrap_interval(values)
        bootstrap = (float(low), float(high))
    return Effect(
        mean=mean,
        low=mean - half,
        high=mean + half,
        bootstrap=bootstrap,
        pairs=len(values),
        p=None if region.never else _edge_p(values, region),
    )


@lru_cache(maxsize=8)
def _resamples(n: int) -> Floats:
    """How often each of n values is drawn, over n, [n, RESAMPLES]."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T / n


def bootstrap_interval(values: ArrayLike) -> tuple[Floats, Floats]:
    """95 % percentile bootstrap of the mean, [..., n] -> [...] twice.

    Resamples are multinomial counts, the same for every n. Source: Efron 1979.
    """
    array = np.asarray(values, dtype=np.float64)
    means = array @ _resamples(array.shape[-1])
    low, high = np.quantile(means, (0.025, 0.975), axis=-1)
    return np.asarray(low), np.asarray(high)


def _edge_p(values: Sequence[float], region: Region) -> float | None:
    """Two-sided p of what the interval decides: inside the region, or outside of it.

    Below 0.05 exactly where the t interval lies on one side of every edge.
    """
    mean = float(np.mean(values))
    edges = [edge for edge in (region.low, region.high) if math.isfinite(edge)]
    if not region.low < mean < region.high:
        edges = [region.low if mean <= region.low else region.high]
    p_values = [p for p in (p_value([value - edge for value in values]) for edge in edges) if p is not None]
    return max(p_values) if p_values else None


def verdict_of(values: Sequence[float], effect: Effect | None, region: Region, survives: bool) -> str:
    """The verdict on one comparison.

    survives: whether it is significant after Holm's correction (`family_of`); not asked for an identity.
    """
    if effect is None or effect.pairs < LEAST_PAIRS:
        return NOT_RUN
    if region.never:
        return CONTRADICTED if any(value > 0 for value in values) else SUPPORTED
    if not survives:
        return NOT_RESOLVED
    if region.low < effect.low and effect.high < region.high:
        return SUPPORTED
    if effect.high <= region.low or effect.low >= region.high:
        return CONTRADICTED
    return NOT_RESOLVED


def family_of(effects: Sequence[Effect | None]) -> list[bool]:
    """Which comparisons of a page survive Holm's correction; those without enough pairs do not count."""
    return holm([None if e is None or e.pairs < LEAST_PAIRS else e.p for e in effects])


def combined(verdicts: Sequence[str]) -> str:
    """The verdict on a claim with several comparisons: one refutes it, all are needed to support it."""
    if not verdicts or NOT_RUN in verdicts:
        return CONTRADICTED if CONTRADICTED in verdicts else NOT_RUN
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    return SUPPORTED if set(verdicts) == {SUPPORTED} else NOT_RESOLVED
