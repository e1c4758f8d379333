"""How many paired seeds it takes to see a difference of a given size.

With n pairs whose differences have the standard deviation s, the 95 % t interval leaves a true difference
δ out of zero with a chance of about `POWER` when

    n ≥ (t_{0.975, n-1} + t_{0.80, n-1})² · s² / δ²

the usual sample size of a paired t test. t depends on n, so n is searched. s is itself an estimate from
few seeds: the answer is an order of magnitude, and `spread_interval` says how wide.
"""

import math

from explorer.metrics.statistics import t_quantile

POWER = 0.80
MOST_PAIRS = 100_000


def detectable(spread: float, pairs: int) -> float:
    """The smallest true difference that this many pairs detect with power `POWER`; needs two pairs."""
    freedom = pairs - 1
    return (t_quantile(0.975, freedom) + t_quantile(POWER, freedom)) * spread / math.sqrt(pairs)


def pairs_needed(spread: float, difference: float) -> int:
    """The smallest number of pairs that detect a true `difference`, given the standard deviation `spread`.

    At least 2, at most `MOST_PAIRS`.
    """
    low, high = 2, 2
    while detectable(spread, high) > abs(difference) and high < MOST_PAIRS:
        low, high = high, min(2 * high, MOST_PAIRS)
    while low < high:
        middle = (low + high) // 2
        if detectable(spread, middle) <= abs(difference):
            high = middle
        else:
            low = middle + 1
    return high


def spread_interval(spread: float, pairs: int) -> tuple[float, float]:
    """95 % interval of the true standard deviation behind one that was estimated from so many pairs (χ²)."""
    from scipy.special import chdtri  # loaded when asked for

    freedom = pairs - 1
    low, high = (spread * math.sqrt(freedom / float(chdtri(freedom, tail))) for tail in (0.025, 0.975))
    return low, high
