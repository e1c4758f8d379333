"""Statistics over seeds: Student's t for one comparison, Holm's correction for several.

The project's only t distribution. SciPy is slow to load, so it is imported on first use.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

LEVEL = 0.05
"""Significance level: of one comparison, or family-wise."""


def t_quantile(probability: float, freedom: int) -> float:
    """The point of Student's t distribution below which a share `probability` lies."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and half width of the 95 % t interval; None for fewer than two values.

    For paired seeds, pass the differences.
    """
    if len(values) < 2:
        return None
    mean, error = _mean_and_error(values)
    return mean, t_quantile(1 - LEVEL / 2, len(values) - 1) * error


def is_resolved(interval: tuple[float, float] | None) -> bool:
    """Whether a paired difference is significantly different from zero: its 95 % interval excludes 0."""
    return interval is not None and abs(interval[0]) > interval[1]


def p_value(values: Sequence[float]) -> float | None:
    """Two-sided p value of the paired t test: below 0.05 exactly where the 95 % interval excludes 0.

    values: the differences of the pairs. None for fewer than two.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtr

    mean, error = _mean_and_error(values)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(len(values) - 1, -abs(mean) / error))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1) / math.sqrt(len(array)))


def holm(p_values: Sequence[float | None]) -> list[bool]:
    """Which comparisons of a family are significant at a family-wise error rate of 5 %.

    The smallest of m p values is compared with 0.05/m, the next with 0.05/(m - 1), and so on until one is
    larger; it and all after it are not significant. None (a comparison without a p value) is never
    significant and does not count. Source: Holm 1979, A simple sequentially rejective multiple test
    procedure.
    """
    ascending = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    survives = [False] * len(p_values)
    for rank, (p, at) in enumerate(ascending):
        if p > LEVEL / (len(ascending) - rank):
            break
        survives[at] = True
    return survives


@dataclass(frozen=True)
class PairVerdicts:
    """Which pairs of arms differ significantly in one metric, by Holm's correction over all pairs."""

    significant: frozenset[frozenset[str]]
    comparisons: int
    """Pairs that have a p value."""

    def survives(self, a: str, b: str) -> bool:
        """Whether the difference of these two arms stays significant; in either order."""
        return frozenset((a, b)) in self.significant


def pair_verdicts(arms: Sequence[str], p_value_of: Callable[[str, str], float | None]) -> PairVerdicts:
    """The verdict on every pair of arms in one metric.

    The family is all pairs of arms, not those with one base or of several metrics: so the verdict
    on two arms does not depend on the base of a comparison.

    arms: names; p_value_of: `p_value` of the paired differences of two arms.
    """
    pairs = list(combinations(dict.fromkeys(arms), 2))
    values = [p_value_of(a, b) for a, b in pairs]
    stays = holm(values)
    significant = frozenset(frozenset(pair) for pair, ok in zip(pairs, stays, strict=True) if ok)
    return PairVerdicts(significant, sum(value is not None for value in values))
