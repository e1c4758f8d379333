"""What uniform random routing gives by chance: with few tokens even a perfect router looks uneven.

Counts of experts are taken as independent Poisson numbers of one mean; that a token picks K different experts
makes the true spread a little smaller.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CERTAIN = 10_000.0
"""Uniform load (tokens per expert) from which on chance is neglected: it adds at most 0.05 to MaxVio."""


@lru_cache(maxsize=1024)
def max_vio_by_chance(load: float, width: int) -> float:
    """Mean MaxVio of `width` experts with `load` tokens each on average; 0 for large loads and for none."""
    if not 0 < load < CERTAIN:
        return 0.0
    _, pmf = _poisson(load)
    below = np.minimum(1.0, np.cumsum(pmf))
    return float((1 - below**width).sum()) / load - 1


@lru_cache(maxsize=1024)
def effective_by_chance(load: float, width: int) -> float:
    """Mean effective experts (exp of the load entropy), at most `width`; `width` for large loads."""
    if not 0 < load < CERTAIN:
        return float(width)
    values, pmf = _poisson(load)
    mean_x_log_x = float((pmf * values * np.log(np.maximum(values, 1))).sum())
    return min(float(width), float(np.exp(np.log(load * width) - mean_x_log_x / load)))


def _poisson(load: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values from 0 on, up to where nothing is left, and their probabilities."""
    values = np.arange(int(load + 12 * np.sqrt(load) + 24), dtype=np.float64)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(values[1:]))])
    return values, np.exp(values * np.log(load) - load - log_factorials)
