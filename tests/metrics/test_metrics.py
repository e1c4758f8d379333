"""Every reported figure against the slow reference (P21, P29, P33, P34)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import figures
from scipy import stats
from sentences import pattern
from strategies import counts

from explorer import metrics

matrices = st.integers(1, 3).flatmap(
    lambda layers: st.integers(2, 5).flatmap(
        lambda experts: st.lists(
            st.lists(st.integers(0, 200), min_size=experts, max_size=experts).filter(any),
            min_size=layers,
            max_size=layers,
        )
    )
)


@given(values=counts())
def test_figures_of_one_layer_equal_the_reference(values: list[int]) -> None:
    assert float(metrics.max_vio(values)) == pytest.approx(figures.max_vio(values), abs=1e-12)
    assert float(metrics.load_entropy(values)) == pytest.approx(figures.load_entropy(values), abs=1e-12)
    assert float(metrics.effective_experts(values)) == pytest.approx(figures.effective_experts(values))
    assert metrics.load_fraction(values).tolist() == pytest.approx([c / sum(values) for c in values])
    assert metrics.load_fraction(values).sum() == pytest.approx(1)


@given(layers=matrices)
def test_p21_layers_are_measured_one_by_one_and_then_averaged(layers: list[list[int]]) -> None:
    assert metrics.max_vio(layers).tolist() == pytest.approx([figures.max_vio(row) for row in layers])
    assert metrics.max_vio_global(layers) == pytest.approx(figures.mean_max_vio(layers))
    worst, violation = metrics.worst_layer(layers)
    assert violation == pytest.approx(max(figures.max_vio(row) for row in layers))
    assert violation == pytest.approx(figures.max_vio(layers[worst]))


def test_p21_two_layers_that_collapse_on_different_experts_are_not_level() -> None:
    layers = [[10, 0], [0, 10]]
    assert metrics.max_vio_global(layers) == 1.0
    assert float(metrics.max_vio(np.sum(layers, 0))) == 0.0


@pytest.mark.parametrize(("num_steps", "window"), [(1, 1), (3, 1), (7, 1), (8, 2), (80, 20), (800, 100)])
def test_max_vio_batch_averages_the_last_steps(num_steps: int, window: int) -> None:
    assert metrics.last_steps(num_steps) == window
    rows = np.random.default_rng(0).integers(0, 50, size=(num_steps, 2, 4))
    slow = figures.max_vio_batch(rows.tolist(), window)
    assert metrics.max_vio_batch(rows) == pytest.approx(slow)
    # Told the length of the run, the last rows are enough.
    assert metrics.max_vio_batch(rows[-window:], num_steps) == pytest.approx(slow)
    assert metrics.max_vio_batch_by_layer(rows).mean() == pytest.approx(slow)


def test_max_vio_batch_is_not_max_vio_of_the_sum() -> None:
    # Steps that take turns in overloading two experts: level over time, never within a step.
    rows = np.array([[[4, 0]], [[0, 4]]] * 20)
    assert metrics.max_vio_batch(rows) == 1.0
    assert metrics.max_vio_global(rows.sum(0)) == 0.0


@given(values=counts(), factor=st.integers(2, 9), seed=st.integers(0, 99))
def test_p33_figures_ignore_the_order_of_experts_and_a_common_factor(
    values: list[int], factor: int, seed: int
) -> None:
    shuffled = factor * np.random.default_rng(seed).permutation(values)
    for figure in (metrics.max_vio, metrics.load_entropy, metrics.effective_experts):
        assert float(figure(shuffled)) == pytest.approx(float(figure(values)), abs=1e-12)


@given(num_experts=st.integers(2, 64), per_expert=st.integers(1, 10**12))
def test_max_vio_is_exactly_zero_at_equal_loads(num_experts: int, per_expert: int) -> None:
    level = [per_expert] * num_experts
    assert float(metrics.max_vio(level)) == 0.0
    assert float(metrics.effective_experts(level)) == pytest.approx(num_experts)
    assert float(metrics.load_entropy(level)) == pytest.approx(math.log(num_experts))


@given(num_experts=st.integers(2, 64), top_k=st.integers(1, 8), tokens=st.integers(1, 1000))
def test_max_vio_is_e_over_k_minus_one_when_all_take_the_same_experts(
    num_experts: int, top_k: int, tokens: int
) -> None:
    top_k = min(top_k, num_experts)
    values = [tokens] * top_k + [0] * (num_experts - top_k)
    assert float(metrics.max_vio(values)) == pytest.approx(num_experts / top_k - 1, abs=1e-12)
    assert float(metrics.effective_experts(values)) == pytest.approx(top_k)


def test_nothing_routed_is_undefined_and_says_so() -> None:
    assert math.isnan(metrics.max_vio([0, 0]))
    assert math.isnan(metrics.load_entropy([0, 0]))
    assert np.isnan(metrics.load_fraction([0, 0])).all()
    assert np.isnan(metrics.max_vio([[0, 0], [1, 1]])).tolist() == [True, False]


@pytest.mark.parametrize("figure", [metrics.max_vio, metrics.load_fraction, metrics.load_entropy])
def test_p13_ratios_are_refused_where_counts_are_meant(figure) -> None:
    with pytest.raises(TypeError, match=pattern("glossary.integers", kind="float64")):
        figure([0.5, 0.5])


def test_p13_narrow_integers_do_not_wrap() -> None:
    assert float(metrics.max_vio(np.array([200, 100], dtype=np.uint8))) == pytest.approx(1 / 3)
    assert float(metrics.max_vio(np.array([2**31 - 1, 1], dtype=np.int32))) == pytest.approx(1, abs=1e-6)


def test_p29_unseen_experts_are_in_the_denominator() -> None:
    assert float(metrics.max_vio([5, 5])) == 0.0
    assert float(metrics.max_vio([5, 5, 0, 0])) == 1.0
    assert metrics.load_fraction([5, 5, 0, 0]).tolist() == [0.5, 0.5, 0.0, 0.0]


def random_max_vio(rng: np.random.Generator, experts: int, top_k: int, tokens: int, layers: int) -> float:
    """MaxVio of uniform-random routing, token by token, averaged over layers."""
    expert_ids = rng.random((layers, tokens, experts)).argsort(-1)[..., :top_k]
    loads = [np.bincount(layer.ravel(), minlength=experts).tolist() for layer in expert_ids]
    return figures.mean_max_vio(loads)


@pytest.mark.parametrize(
    ("experts", "top_k", "tokens"), [(8, 2, 256), (16, 4, 256), (64, 6, 256), (8, 1, 64)]
)
@pytest.mark.parametrize("layers", [1, 3])
def test_p34_uniform_random_routing_lies_inside_the_predicted_band(
    experts: int, top_k: int, tokens: int, layers: int
) -> None:
    rng = np.random.default_rng(1)
    seen = [random_max_vio(rng, experts, top_k, tokens, layers) for _ in range(200)]
    mean, high = metrics.uniform_reference(experts, top_k, tokens, layers)
    assert np.mean(seen) == pytest.approx(mean, rel=0.06)
    # About 5 % lie above the 95th percentile.
    assert 0.005 <= np.mean(np.array(seen) > high) <= 0.12
    assert metrics.uniform_guide(experts, top_k, tokens) > mean


# Simulated independently for the project's notes: mean and 95th percentile of one layer.
NOISE_FLOOR = {
    (8, 2, 256): (0.16, 0.27),
    (8, 2, 1024): (0.08, 0.14),
    (16, 2, 256): (0.31, 0.46),
    (16, 4, 1024): (0.10, 0.15),
    (32, 4, 4096): (0.09, 0.13),
    (64, 6, 16384): (0.06, 0.08),
}


@pytest.mark.parametrize("sizes", NOISE_FLOOR)
def test_p34_the_band_equals_the_tabulated_noise_floor(sizes: tuple[int, int, int]) -> None:
    # One token more moves MaxVio by N / (K T), so a percentile can sit one such step away.
    one_token = sizes[0] / (sizes[1] * sizes[2])
    assert metrics.uniform_reference(*sizes) == pytest.approx(NOISE_FLOOR[sizes], abs=0.006 + one_token)


def test_p34_the_band_narrows_with_layers_and_vanishes_without_a_choice() -> None:
    one, eight = metrics.uniform_reference(8, 2, 256), metrics.uniform_reference(8, 2, 256, 8)
    assert eight[0] == pytest.approx(one[0], rel=0.03)
    assert eight[1] < one[1]
    for sizes in ((4, 4, 100), (4, 9, 100), (4, 0, 100), (0, 0, 100), (4, 2, 0)):
        assert metrics.uniform_reference(*sizes) == (0.0, 0.0)
        assert metrics.uniform_guide(*sizes) == 0.0
    assert set(metrics.uniform_references(4, 9, range(1, 100)).values()) == {(0.0, 0.0)}


def test_p34_many_wide_layers_have_the_band_of_their_average() -> None:
    # Beyond MOST_CELLS the layers are drawn again from those that were simulated.
    sizes, layers = (128, 8, 1024), 60
    one, many = metrics.uniform_reference(*sizes), metrics.uniform_reference(*sizes, layers)
    rng = np.random.default_rng(5)
    seen = [random_max_vio(rng, *sizes, 1) for _ in range(60)]
    assert many[0] == pytest.approx(one[0], rel=0.02)
    assert many[0] == pytest.approx(np.mean(seen), rel=0.05)
    wanted = one[0] + 1.645 * np.std(seen, ddof=1) / math.sqrt(layers)
    assert many[1] == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("sizes", [(16, 2, 1536, 4), (8, 1, 64, 1), (64, 6, 500, 4)])
def test_two_digits_of_a_baseline_do_not_depend_on_the_random_seed(sizes: tuple[int, int, int, int]) -> None:
    means = [metrics.uniform_reference(*sizes, seed=seed)[0] for seed in range(4)]
    assert max(means) / min(means) < 1.025


def test_two_digits_of_resampled_sequences_do_not_depend_on_the_random_seed() -> None:
    loads = sequences(np.random.default_rng(2), clustered=True)
    means = [metrics.resampled_reference(loads, 16, seed=seed)[0] for seed in range(4)]
    assert max(means) / min(means) < 1.015


@pytest.mark.parametrize("sizes", [(64, 4, 40), (128, 8, 64)])
def test_few_tokens_on_many_experts_have_the_percentile_of_real_draws(sizes: tuple[int, int, int]) -> None:
    # Most loads are 0, 1 or 2 here: far from any normal distribution.
    rng = np.random.default_rng(6)
    seen = [random_max_vio(rng, *sizes, 4) for _ in range(2000)]
    mean, high = metrics.uniform_reference(*sizes, 4)
    assert mean == pytest.approx(np.mean(seen), rel=0.015)
    assert high == pytest.approx(np.percentile(seen, 95), rel=0.025)


def test_baselines_of_a_growing_batch_are_interpolated_to_two_digits() -> None:
    tokens = list(range(1000, 33_000, 1600))
    references = metrics.uniform_references(16, 2, tokens)
    assert list(references) == tokens
    for n in tokens[::4]:
        assert references[n] == pytest.approx(metrics.uniform_reference(16, 2, n), rel=0.02)


def sequences(rng: np.random.Generator, clustered: bool) -> np.ndarray:
    """[R, L, E] loads of 100 sequences of 32 tokens over 8 experts, K = 1, one layer."""
    loads = np.zeros((100, 1, 8), dtype=np.int64)
    for row in loads:
        for _ in range(32 // (4 if clustered else 1)):
            row[0, rng.integers(8)] += 4 if clustered else 1
    return loads


def test_p34_resampled_sequences_equal_the_uniform_band_only_without_clustering() -> None:
    rng = np.random.default_rng(2)
    uniform = metrics.uniform_reference(8, 1, 16 * 32)[0]
    independent = metrics.resampled_reference(sequences(rng, clustered=False), 16)[0]
    clustered = metrics.resampled_reference(sequences(rng, clustered=True), 16)[0]
    assert independent == pytest.approx(uniform, rel=0.12)
    # Tokens in lumps of four: four times the variance.
    assert clustered == pytest.approx(2 * uniform, rel=0.15)


def test_resampling_removes_real_imbalance_and_keeps_the_noise() -> None:
    # Identical sequences have nothing to vary, however uneven their loads.
    loads = np.tile(np.array([[[30, 2, 0, 0]]]), (20, 1, 1))
    assert metrics.resampled_reference(loads, 8) == pytest.approx((0.0, 0.0))


def test_resampling_within_domains_removes_the_chance_of_the_mix() -> None:
    # Each domain has its own expert; drawn by domain the loads cannot vary at all.
    loads = np.array([[[8, 0]], [[0, 8]]] * 10)
    domains = ["a", "b"] * 10
    assert metrics.resampled_reference(loads, 8, strata=domains) == pytest.approx((0.0, 0.0))
    assert metrics.resampled_reference(loads, 8)[0] > 0.1


@given(
    loss=st.floats(0, 10), num_tokens=st.integers(1, 10**6), bytes_per_token=st.floats(1, 8, exclude_min=True)
)
def test_bits_per_byte_equals_the_reference(loss: float, num_tokens: int, bytes_per_token: float) -> None:
    num_bytes = math.ceil(num_tokens * bytes_per_token)
    fast = metrics.bits_per_byte(loss, num_tokens, num_bytes)
    assert fast == pytest.approx(figures.bits_per_byte(loss, num_tokens, num_bytes))


def test_a_uniform_guess_of_bytes_costs_eight_bits() -> None:
    assert metrics.bits_per_byte(math.log(256), 100, 100) == pytest.approx(8)


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=11))
def test_t_interval_equals_the_reference(values: list[float]) -> None:
    assert metrics.t_interval(values) == pytest.approx(figures.t_interval(values), rel=5e-4, abs=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 12, 30, 31, 32, 40, 100])
def test_t_interval_equals_scipy(count: int) -> None:
    values = np.random.default_rng(count).standard_normal(count)
    mean, half = metrics.t_interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9)


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=11))
def test_p_values_are_those_of_scipys_t_test_and_agree_with_the_interval(values: list[float]) -> None:
    assume(np.std(values) > 1e-6)
    p = metrics.p_value(values)
    assert p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, rel=1e-6)
    assume(abs(p - 0.05) > 1e-6)
    assert (p < 0.05) == metrics.is_resolved(metrics.t_interval(values))


def test_p_values_of_equal_differences_and_of_one() -> None:
    assert metrics.p_value([0.5]) is None
    assert metrics.p_value([0.0, 0.0]) == 1.0
    assert metrics.p_value([0.5, 0.5]) == 0.0


@given(p_values=st.lists(st.one_of(st.none(), st.floats(0, 0.2)), max_size=8))
def test_holm_keeps_what_its_adjusted_p_values_keep(p_values: list[float | None]) -> None:
    """Adjusted: the largest, over all p values up to this one, of p times how many are at least as large."""
    known = [p for p in p_values if p is not None]
    expected = []
    for p in p_values:
        smaller = [q for q in known if p is not None and q <= p]
        adjusted = [q * sum(other >= q for other in known) for q in smaller]
        expected.append(p is not None and max(adjusted) <= 0.05)
    assert metrics.holm(p_values) == expected


def test_holm_of_the_six_pairs_of_four_arms() -> None:
    # 0.0152 is below 0.05, and above 0.05/4, its limit as the third of six.
    p_values = [0.0152, 0.0729, 0.0553, 0.0002, 0.0007, 0.2847]
    assert metrics.holm(p_values) == [False, False, False, True, True, False]
    assert metrics.holm(p_values[:1]) == [True]


def test_the_verdict_on_two_arms_counts_all_pairs_in_whatever_order_the_arms_stand() -> None:
    p_values = {"ab": 0.018, "ac": 0.0729, "ad": 0.0553, "bc": 0.0002, "bd": 0.0007, "cd": None}
    for arms in ("abcd", "dcba", "bdac"):
        verdicts = metrics.pair_verdicts(list(arms), lambda a, b: p_values["".join(sorted(a + b))])
        assert verdicts.comparisons == 5, "a pair without a p value is no try"
        assert verdicts.survives("c", "b")
        assert verdicts.survives("b", "d")
        assert not verdicts.survives("a", "b"), "alone below 0.05, not below 0.05/3"
    assert metrics.pair_verdicts("ab", lambda a, b: 0.018).survives("a", "b"), "two arms are one pair"


def test_one_value_has_no_interval_and_resolves_nothing() -> None:
    assert metrics.t_interval([1.0]) is None
    assert not metrics.is_resolved(None)
    assert metrics.is_resolved((-0.5, 0.4))
    assert not metrics.is_resolved((0.3, 0.4))


def test_perplexity_weighs_domains_equally() -> None:
    losses = {"a": 1.0, "b": 3.0}
    assert metrics.mean_loss(losses) == 2.0
    assert metrics.perplexity(losses) == pytest.approx(math.exp(2.0))


def slow_collapsed(effective: list[float], limit: float, window: int) -> list[bool]:
    """A step is collapsed if some stretch of `window` low steps holds it."""
    result = []
    for step in range(len(effective)):
        is_collapsed = False
        for first in range(len(effective) - window + 1):
            inside = first <= step < first + window
            if inside and all(value <= limit for value in effective[first : first + window]):
                is_collapsed = True
        result.append(is_collapsed)
    return result


@given(effective=st.lists(st.sampled_from([1.0, 4.0, 4.1, 8.0]), max_size=15), window=st.integers(1, 5))
def test_collapsed_steps_equal_the_reference(effective: list[float], window: int) -> None:
    fast = metrics.collapsed_steps(np.array(effective), 8, window).tolist()
    assert fast == slow_collapsed(effective, 4.0, window)
