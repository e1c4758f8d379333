"""Coverage, hot set and log-normal fit against values by hand and slow references."""

import math
from fractions import Fraction
from statistics import NormalDist, correlation

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.metrics import popularity

LOADS = st.lists(st.integers(0, 40), min_size=2, max_size=12)


def busiest_slowly(loads: list[int], number: int) -> set[int]:
    return set(sorted(range(len(loads)), key=lambda e: (-loads[e], e))[:number])


def places_slowly(loads: list[int], number: int) -> list[Fraction]:
    """The part of every expert in the busiest `number`, by handing out the places load by load."""
    places, left = [Fraction(0)] * len(loads), number
    for load in sorted(set(loads), reverse=True):
        level = [e for e, one in enumerate(loads) if one == load]
        for expert in level:
            places[expert] = min(Fraction(1), Fraction(left, len(level)))
        left -= min(left, len(level))
    return places


@given(loads=LOADS)
def test_coverage_is_the_share_of_the_busiest(loads: list[int]) -> None:
    curve = popularity.coverage(loads)
    for number in range(1, len(loads) + 1):
        held = sum(loads[e] for e in busiest_slowly(loads, number))
        if sum(loads):
            assert curve[number - 1] == pytest.approx(held / sum(loads))
        else:
            assert np.isnan(curve[number - 1])


def test_coverage_at_balance_is_the_diagonal() -> None:
    assert popularity.coverage([[5, 5, 5, 5]]).tolist() == [[0.25, 0.5, 0.75, 1.0]]


@given(
    pair=st.integers(2, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n)] * 2)
    ),
    number=st.integers(1, 12),
)
def test_overlap_counts_experts_that_stay(pair: tuple[list[int], list[int]], number: int) -> None:
    first, second = pair
    number = min(number, len(first))
    shared = sum(
        a * b for a, b in zip(places_slowly(first, number), places_slowly(second, number), strict=True)
    )
    assert popularity.hot_set_overlap(first, second, number) == pytest.approx(float(shared / number))


def test_equal_loads_have_no_hot_set_that_could_stay() -> None:
    """By index, the same experts would be hot in every window of equal loads."""
    assert popularity.hot_set_overlap([7] * 16, [7] * 16, 2) == pytest.approx(2 / 16)
    assert popularity.hot_set_overlap([9, 8, 7, 7], [9, 8, 7, 7], 2) == 1.0
    assert popularity.busiest([9, 7, 7, 1], 2).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_random_sets_overlap_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 4000, 32)).argsort(-1)
    assert popularity.hot_set_overlap(first, second, 8).mean() == pytest.approx(8 / 32, abs=0.01)


def test_the_fit_finds_sigma_without_the_counting_noise() -> None:
    """σ = 0.5 and about 30 tokens per expert: counting adds 1/30 to the variance."""
    rng = np.random.default_rng(1)
    rates = 30 * np.exp(rng.normal(0, 0.5, 4000))
    fit = popularity.log_normal_fit(rng.poisson(rates))
    assert fit is not None
    assert fit.sigma == pytest.approx(0.5, abs=0.03)
    assert fit.spread > fit.sigma + 0.02


def test_the_fit_by_hand() -> None:
    counts = [3, 0, 5, 8, 13, 21, 34, 55, 89]
    fit = popularity.log_normal_fit(counts)
    assert fit is not None
    assert fit.num_idle == 1
    mean = sum(counts) / len(counts)
    logs = sorted(math.log(c / mean) for c in counts if c)
    places = [NormalDist().inv_cdf((i - 0.375) / 8.25) for i in range(1, 9)]
    assert fit.fit_r == pytest.approx(correlation(places, logs))
    variance = sum((x - sum(logs) / 8) ** 2 for x in logs) / 7
    assert fit.spread == pytest.approx(math.sqrt(variance))
    assert fit.sigma == pytest.approx(math.sqrt(variance - sum(1 / c for c in counts if c) / 8))


def test_the_test_rejects_one_log_normal_in_twenty_and_others_nearly_always() -> None:
    rng = np.random.default_rng(2)

    def rejected(values: np.ndarray) -> float:
        fits = [popularity.log_normal_fit(np.round(row * 1e6).astype(np.int64)) for row in values]
        return float(np.mean([fit is not None and fit.is_rejected for fit in fits]))

    assert 0.02 < rejected(np.exp(rng.normal(size=(600, 64)))) < 0.09
    assert rejected(1 + rng.exponential(size=(200, 64))) > 0.8


@pytest.mark.parametrize("counts", [[1, 2, 3], [0] * 20, [7] * 20])
def test_too_few_experts_or_equal_loads_have_no_fit(counts: list[int]) -> None:
    assert popularity.log_normal_fit(counts) is None
