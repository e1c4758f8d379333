"""Seeds against resolution, held against the exact power of the paired t test."""

import math

import numpy as np
import pytest
from scipy import stats

from explorer.metrics import power


def exact(spread: float, difference: float, pairs: int) -> float:
    """Chance that the two-sided 95 % t test of `pairs` differences leaves zero out (non-central t)."""
    shift = difference / spread * math.sqrt(pairs)
    edge = stats.t.ppf(0.975, pairs - 1)
    return float(stats.nct.sf(edge, pairs - 1, shift) + stats.nct.cdf(-edge, pairs - 1, shift))


@pytest.mark.parametrize(("spread", "difference"), [(0.015, 0.0063), (0.015, 0.02), (0.01, 0.03), (1.0, 0.2)])
def test_the_number_of_pairs_is_that_of_the_exact_test(spread: float, difference: float) -> None:
    pairs = power.pairs_needed(spread, difference)
    least = next(n for n in range(2, 2000) if exact(spread, difference, n) >= power.POWER)
    assert abs(pairs - least) <= 1


def test_one_pair_fewer_would_not_find_it() -> None:
    for spread, difference in ((0.015, 0.0063), (0.03, 0.01), (0.5, 0.5)):
        n = power.pairs_needed(spread, difference)
        assert power.detectable(spread, n) <= difference < power.detectable(spread, n - 1)


def test_so_many_pairs_find_it_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    n = power.pairs_needed(0.015, 0.01)
    draws = rng.normal(0.01, 0.015, (20_000, n))
    half = stats.t.ppf(0.975, n - 1) * draws.std(1, ddof=1) / math.sqrt(n)
    share = float((np.abs(draws.mean(1)) > half).mean())
    assert 0.78 < share < 0.84


def test_the_interval_of_a_spread_holds_the_true_one() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        low, high = power.spread_interval(float(rng.normal(0, 2.0, 5).std(ddof=1)), 5)
        inside += low <= 2.0 <= high
    assert 0.93 < inside / 2000 < 0.97


def test_a_difference_of_nothing_takes_more_than_anyone_has() -> None:
    assert power.pairs_needed(1.0, 0.0) == power.MOST_PAIRS
