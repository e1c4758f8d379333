"""Popularity of experts: the load that the busiest hold, whether they stay, and how loads are spread.

Every function takes integer counts [..., E], experts on the last axis; N is E.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from explorer.metrics.counts import Ratio, checked, over_total

LEAST_EXPERTS = 8
"""Experts with tokens that a fit needs."""


def coverage(counts: ArrayLike) -> Ratio:
    """Share of the load that the busiest n experts hold, for n = 1 … N: [..., E]; n/N at balance."""
    array = np.sort(checked(counts), axis=-1)[..., ::-1]
    return over_total(np.cumsum(array, axis=-1), array.sum(-1, keepdims=True))


def busiest(counts: ArrayLike, number: int) -> Ratio:
    """The part of an expert that is among the busiest `number`, [..., E]; `number` in all.

    1 or 0, except that experts of equal load at the edge of the set share the places that are left, since
    nothing but their index could tell which of them is hot.
    """
    array = checked(counts)
    edge = np.sort(array, axis=-1)[..., ::-1][..., number - 1 : number]
    above, level = array > edge, array == edge
    left = number - above.sum(-1, keepdims=True)
    return np.asarray(above + level * (left / level.sum(-1, keepdims=True)))


def hot_set_overlap(first: ArrayLike, second: ArrayLike, number: int) -> Ratio:
    """Share of the busiest `number` experts of one window that are so in another: 0 … 1.

    [..., E] twice -> [...]. Two random sets share number / N, and so do equal loads of all experts; see
    `busiest`.
    """
    both = busiest(first, number) * busiest(second, number)
    return np.asarray(both.sum(-1) / number)


@dataclass(frozen=True, kw_only=True)
class LogNormalFit:
    """Log-normal fit of the loads of one layer's experts."""

    sigma: float
    """Standard deviation of ln(load) without the part that counting alone explains (1/count per expert)."""
    spread: float
    """Standard deviation of ln(load) as counted."""
    centre: float
    """Mean of ln(load / mean load)."""
    fit_r: float
    """Correlation of the Q-Q plot: 1 for an exact log-normal."""
    p_value: float
    """Shapiro-Francia test of ln(load), whose statistic is fit_r squared; small: not log-normal."""
    num_idle: int
    """Experts without tokens, which have no logarithm and are left out."""

    @property
    def is_rejected(self) -> bool:
        """Whether the test rejects a log-normal at 5 %."""
        return self.p_value < 0.05


def log_normal_fit(counts_E: ArrayLike) -> LogNormalFit | None:
    """Fit one layer; None with fewer than LEAST_EXPERTS experts with tokens, or if all loads are equal."""
    points = quantile_points(counts_E)
    logs = points[1]
    counts = checked(counts_E)
    positive = counts[counts > 0]
    if len(logs) < LEAST_EXPERTS or np.ptp(logs) == 0:
        return None
    variance = float(logs.var(ddof=1))
    fit_r = float(np.corrcoef(points[0], logs)[0, 1])
    return LogNormalFit(
        sigma=float(np.sqrt(max(0.0, variance - float((1 / positive).mean())))),
        spread=float(np.sqrt(variance)),
        centre=float(logs.mean()),
        fit_r=fit_r,
        p_value=shapiro_francia(fit_r, len(logs)),
        num_idle=int((counts == 0).sum()),
    )


def shapiro_francia(fit_r: float, number: int) -> float:
    """p-value of the test of normality whose statistic is the squared Q-Q correlation of `number` values.

    Normal approximation of ln(1 - r²), 5 to 5,000 values (Royston 1993, Statistics in Medicine 12, 181-184).
    """
    from scipy.special import ndtr  # loaded on first use

    u = np.log(number)
    v = np.log(u)
    mean, deviation = 1.0521 * (v - u) - 1.2725, 1.0308 - 0.26758 * (v + 2 / u)
    return float(ndtr((mean - np.log(max(1.0 - fit_r**2, 1e-15))) / deviation))


def quantile_points(counts_E: ArrayLike) -> tuple[Ratio, Ratio]:
    """Q-Q plot against a normal: expected standard normal quantile and ln(load / mean load), ascending.

    Both [X], X experts with tokens; plotting positions (i - 3/8) / (n + 1/4) (Blom).
    """
    from scipy.special import ndtri  # loaded on first use

    counts = checked(counts_E)
    loads = np.sort(counts[counts > 0]) / max(counts.mean(), np.finfo(float).tiny)
    place = (np.arange(1, len(loads) + 1) - 0.375) / (len(loads) + 0.25)
    return np.asarray(ndtri(place)), np.log(loads)
