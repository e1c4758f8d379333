"""Windows, choices and domains: numpy against the slow reference, and what the figures promise."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import figures

from explorer import metrics

seeds = st.integers(0, 2**32 - 1)


@st.composite
def choices(draw: st.DrawFn, number: int = 2) -> tuple[list[np.ndarray], int]:
    """Choices of the same tokens at several moments, some slots empty, and E."""
    experts, tokens = draw(st.integers(2, 7)), draw(st.integers(1, 12))
    top_k = draw(st.integers(1, experts))
    rng = np.random.default_rng(draw(seeds))
    slots = rng.random((number, tokens, experts)).argsort(-1)[..., :top_k]
    if draw(st.booleans()):
        slots = np.where(rng.random(slots.shape) < 0.3, experts, slots)
    return list(slots), experts


@given(seed=seeds, window=st.integers(1, 6), layers=st.integers(1, 3), experts=st.integers(2, 5))
def test_dead_experts_equal_the_reference(seed: int, window: int, layers: int, experts: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 2, (window, layers, experts))
    slow = [figures.dead_experts(counts[:, layer].tolist()) for layer in range(layers)]
    assert metrics.dead_experts(counts).tolist() == slow
    # A longer window never has more dead experts, and one step has the idle ones.
    assert (metrics.dead_experts(counts) <= metrics.dead_experts(counts[-1:])).all()
    assert metrics.dead_experts(counts[-1:]).tolist() == metrics.idle_experts(counts[-1]).tolist()


def test_an_expert_that_rests_is_idle_and_not_dead() -> None:
    counts = [[4, 0, 0], [0, 4, 0]]
    assert metrics.idle_experts(counts).tolist() == [2, 2]
    assert metrics.dead_experts(counts) == 1


@given(seed=seeds, steps=st.integers(1, 12), experts=st.integers(1, 4))
def test_oscillation_equals_the_reference(seed: int, steps: int, experts: int) -> None:
    bias = np.random.default_rng(seed).integers(-1, 2, (steps, experts)).cumsum(0)
    slow = figures.oscillation(bias.tolist())
    assert float(metrics.oscillation(bias)) == pytest.approx(slow, nan_ok=True)
    assert math.isnan(slow) or 0 <= slow <= 1


def test_oscillation_of_travel_of_a_limit_cycle_and_of_rest() -> None:
    steps = np.arange(20)[:, None]
    assert metrics.oscillation(0.001 * steps * [1, -1]) == 0.0
    assert metrics.oscillation(0.001 * (steps % 2) * [1, -1]) == 1.0
    assert math.isnan(metrics.oscillation(np.zeros((20, 2))))
    assert math.isnan(metrics.oscillation(0.001 * steps[:2] * [1, -1]))
    assert math.isnan(metrics.oscillation(np.full((20, 2), np.nan)))
    layers = np.stack([0.001 * steps * [1, -1], 0.001 * (steps % 2) * [1, -1]], axis=1)
    assert metrics.oscillation(layers).tolist() == [0.0, 1.0]


def test_oscillation_of_a_random_walk_is_one_half() -> None:
    rng = np.random.default_rng(0)
    walk = rng.choice([-1, 1], (4000, 8)).cumsum(0)
    assert metrics.oscillation(walk) == pytest.approx(0.5, abs=0.02)


@given(seed=seeds, shift=st.floats(-5, 5))
def test_p04_a_constant_added_to_all_biases_leaves_spread_and_oscillation(seed: int, shift: float) -> None:
    bias = np.random.default_rng(seed).integers(-3, 4, (9, 4)).astype(np.float64)
    assert metrics.bias_spread(bias + shift).tolist() == pytest.approx(metrics.bias_spread(bias).tolist())
    assert metrics.bias_spread(bias).tolist() == [row.max() - row.min() for row in bias]
    assert metrics.oscillation(bias + round(shift)) == pytest.approx(
        float(metrics.oscillation(bias)), nan_ok=True
    )


@given(drawn=choices())
def test_churn_and_saturation_equal_the_reference(drawn: tuple[list[np.ndarray], int]) -> None:
    (before, after), experts = drawn
    fast = float(metrics.churn(before, after, experts))
    assert fast == pytest.approx(figures.churn(before.tolist(), after.tolist(), experts), nan_ok=True)
    assert math.isnan(fast) or -1e-12 <= fast <= 1
    fast = float(metrics.saturation(before, after, experts))
    assert fast == pytest.approx(figures.saturation(before.tolist(), after.tolist(), experts), nan_ok=True)
    assert math.isnan(fast) or 0 <= fast <= 1


@given(drawn=choices(number=1), seed=seeds)
def test_the_same_choice_in_another_order_is_no_change(
    drawn: tuple[list[np.ndarray], int], seed: int
) -> None:
    (choice,), experts = drawn
    assume((choice < experts).any())
    turned = np.random.default_rng(seed).permuted(choice, axis=-1)
    assert metrics.churn(choice, turned, experts) == 0.0
    assert metrics.saturation(choice, turned, experts) == 1.0


def test_churn_of_disjoint_choices_is_one_and_of_chance_is_known() -> None:
    assert metrics.churn([[0, 1]], [[2, 3]], 4) == 1.0
    assert metrics.saturation([[0, 1]], [[2, 3]], 4) == 0.0
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 20_000, 8)).argsort(-1)[..., :2]
    assert metrics.churn(a, b, 8) == pytest.approx(1 - 2 / 8, abs=0.01)
    assert metrics.saturation(a, b, 8) == pytest.approx(2 / 8, abs=0.01)


def test_with_full_slots_churn_is_one_minus_saturation_and_layers_stay_apart() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 3, 50, 8)).argsort(-1)[..., :2]
    assert metrics.churn(a, b, 8).shape == (3,)
    np.testing.assert_allclose(metrics.churn(a, b, 8), 1 - metrics.saturation(a, b, 8))


@given(drawn=choices())
def test_p31_coactivation_counts_all_pairs(drawn: tuple[list[np.ndarray], int]) -> None:
    (first, second), experts = drawn
    slow = figures.cross_activation(first.tolist(), second.tolist(), experts, experts)
    assert metrics.cross_activation(first, second, experts, experts).tolist() == slow
    table = metrics.coactivation(first, experts)
    assert table.tolist() == figures.cross_activation(first.tolist(), first.tolist(), experts, experts)
    assert (table == table.T).all()
    loads = [sum(e in row for row in first.tolist()) for e in range(experts)]
    assert table.diagonal().tolist() == loads


def test_p31_neighbours_in_a_sorted_list_would_miss_half_of_the_pairs() -> None:
    table = metrics.coactivation([[3, 0, 2, 1]], 4)
    assert (table - np.eye(4, dtype=int)).sum() == 4 * 3  # six pairs, both orders; adjacent ones are three
    assert table[0, 3] == table[3, 0] == 1


def test_p31_cross_layer_counts_every_slot_pair_and_never_pools_expert_numbers() -> None:
    table = metrics.cross_activation([[0, 1]], [[4, 2]], 3, 5)
    assert table.shape == (3, 5)
    assert np.argwhere(table).tolist() == [[0, 2], [0, 4], [1, 2], [1, 4]]


def test_independent_choices_meet_as_often_as_stated() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 40_000, 8)).argsort(-1)[..., :3]
    table = metrics.coactivation(a, 8)
    share = table / table.diagonal()[:, None]
    assert share[~np.eye(8, dtype=bool)] == pytest.approx(np.full(56, 2 / 7), abs=0.02)
    across = metrics.cross_activation(a, b, 8, 8)
    assert across.sum(1).tolist() == (3 * table.diagonal()).tolist()
    np.testing.assert_allclose(across / table.diagonal()[:, None], 3 / 8, atol=0.02)


@st.composite
def domain_loads(draw: st.DrawFn) -> np.ndarray:
    """[D, E] with at least one token a domain."""
    domains, experts = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(seeds))
    loads = rng.integers(0, draw(st.sampled_from([2, 300])), (domains, experts))
    assume(loads.any(1).all())
    return loads


@given(loads=domain_loads())
def test_domain_figures_equal_the_reference(loads: np.ndarray) -> None:
    distances = metrics.domain_distances(loads)
    for i, j in np.ndindex(*distances.shape):
        slow = figures.jensen_shannon(loads[i].tolist(), loads[j].tolist())
        assert distances[i, j] == pytest.approx(slow, abs=1e-7)
    others = distances[~np.eye(len(loads), dtype=bool)]
    mean = float(metrics.mean_domain_distance(loads))
    assert mean == pytest.approx(others.mean() if len(others) else math.nan, nan_ok=True)
    assert float(metrics.mutual_information(loads)) == pytest.approx(
        figures.mutual_information(loads.tolist()), abs=1e-12
    )


@given(loads=domain_loads(), seed=seeds, factor=st.integers(1, 9))
def test_domain_figures_stay_in_range_and_ignore_how_much_text_a_domain_has(
    loads: np.ndarray, seed: int, factor: int
) -> None:
    domains, experts = loads.shape
    distances, information = metrics.domain_distances(loads), float(metrics.mutual_information(loads))
    assert (distances >= 0).all()
    assert (distances <= 1).all()
    assert np.allclose(distances, distances.T)
    assert 0 <= information <= min(math.log2(domains), math.log2(experts)) + 1e-9
    scaled = loads.copy()
    scaled[0] *= factor
    shuffled = scaled[:, np.random.default_rng(seed).permutation(experts)]
    assert float(metrics.mutual_information(shuffled)) == pytest.approx(information, abs=1e-12)
    np.testing.assert_allclose(metrics.domain_distances(shuffled), distances, atol=1e-7)


@given(loads=domain_loads())
def test_two_domains_information_is_the_square_of_their_distance(loads: np.ndarray) -> None:
    pair = loads[[0, -1]]
    distance = float(metrics.jensen_shannon(pair[0], pair[1]))
    assert float(metrics.mutual_information(pair)) == pytest.approx(distance**2, abs=1e-9)


@given(loads=domain_loads())
def test_the_distance_keeps_the_triangle_inequality(loads: np.ndarray) -> None:
    assume(len(loads) >= 3)
    d = metrics.domain_distances(loads)
    assert d[0, 2] <= d[0, 1] + d[1, 2] + 1e-7


def test_domains_that_share_all_or_nothing() -> None:
    alike = [[3, 1], [30, 10]]
    apart = [[4, 0, 0], [0, 2, 0], [0, 0, 9]]
    assert metrics.mean_domain_distance(alike) == metrics.mutual_information(alike) == 0.0
    assert metrics.mean_domain_distance(apart) == 1.0
    assert float(metrics.mutual_information(apart)) == pytest.approx(math.log2(3))
    assert math.isnan(metrics.mean_domain_distance([[3, 1]]))
    assert np.isnan(metrics.jensen_shannon([0, 0], [1, 1]))


def test_p21_domains_are_compared_layer_by_layer() -> None:
    layers = np.array([[[8, 0], [0, 8]], [[0, 8], [8, 0]]])  # [L, D, E]: specialists with other numbers
    assert metrics.mean_domain_distance(layers).tolist() == [1.0, 1.0]
    assert metrics.mean_domain_distance(layers.sum(0)) == 0.0


def test_counting_noise_looks_like_information_and_by_how_much() -> None:
    rng = np.random.default_rng(3)
    noise = rng.multinomial(500, [1 / 8] * 8, size=(400, 4))  # [draws, D, E]
    expected = metrics.mutual_information_chance(4, 8, 4 * 500)
    assert metrics.mutual_information(noise).mean() == pytest.approx(expected, rel=0.05)


@given(seed=seeds, sequences=st.integers(1, 9), size=st.integers(1, 9), layers=st.integers(1, 2))
def test_computation_batches_equal_the_reference(seed: int, sequences: int, size: int, layers: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 9, (sequences, layers, 4))
    slow = figures.max_vio_computation_batch(counts.tolist(), size)
    assert metrics.max_vio_computation_batch(counts, size).tolist() == pytest.approx(slow, nan_ok=True)
    steps = np.stack([counts, counts])
    assert metrics.max_vio_computation_batch(steps, size).tolist() == pytest.approx(slow, nan_ok=True)


@given(seed=seeds, size=st.sampled_from([1, 2, 4]))
def test_a_larger_computation_batch_of_equally_long_groups_is_never_less_even(seed: int, size: int) -> None:
    # Sequences of the same length: the maximum of a mean is at most the mean of the maxima.
    counts = np.random.default_rng(seed).multinomial(32, [0.4, 0.3, 0.2, 0.1], size=(8, 2))
    small = metrics.max_vio_computation_batch(counts, size)
    large = metrics.max_vio_computation_batch(counts, 2 * size)
    assert (large <= small + 1e-12).all()


def test_the_whole_step_as_one_computation_batch_is_max_vio_of_the_step() -> None:
    counts = np.random.default_rng(4).integers(0, 9, (6, 2, 4))
    np.testing.assert_allclose(metrics.max_vio_computation_batch(counts, 6), metrics.max_vio(counts.sum(0)))
    assert np.isnan(metrics.max_vio_computation_batch(counts, 7)).all()
