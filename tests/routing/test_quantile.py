"""The rules that solve for the bias, against loops over tokens and experts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import quantiles, routing
from routes import route

from explorer.config.rule_text import Bip, Quantile
from explorer.errors import ConfigError
from explorer.model.balancers import BALANCERS, LayerBatch
from explorer.model.router import sequence_counts
from explorer.routing import balancing

ULP = 1e-5
FORMS = pytest.mark.parametrize("inequalities", [False, True], ids=["quantile", "bip"])


@st.composite
def steps(draw, whole_share: bool = False):
    """Scores [T, E] of one step in (0, 1), K, and a bias that one of the rules can have."""
    num_experts = draw(st.integers(2, 6))
    top_k = draw(st.integers(1, num_experts - 1))
    tokens = draw(st.integers(2, 12)) * (num_experts if whole_share else 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offsets = draw(st.sampled_from([0.0, 1.0, 3.0])) * rng.standard_normal(num_experts)
    scores = 1 / (1 + np.exp(-(rng.standard_normal((tokens, num_experts)) + offsets)))
    bias = draw(st.sampled_from([0.0, 0.1, 0.6])) * rng.standard_normal(num_experts)
    return scores, bias, top_k


def solve(scores, bias, top_k, inequalities=False, make=np.asarray):
    """b̂ of the fast rule, exact form, as a numpy array."""
    required = balancing.required_bias(make(scores), make(bias), top_k, clipped=inequalities)
    solution = balancing.quantile_bias(required, len(scores) * top_k // scores.shape[1])
    return np.minimum(np.asarray(solution), 0) if inequalities else np.asarray(solution)


def binned(scores, bias, top_k, num_bins, inequalities=False, make=np.asarray):
    """(b̂ of the histogram, the histogram [E, B])."""
    required = balancing.required_bias(make(scores), make(bias), top_k, clipped=inequalities)
    ids = np.asarray(balancing.bin_ids(required, make(bias), num_bins))
    counts = np.stack([np.bincount(column, minlength=num_bins) for column in ids.T])
    rank = balancing.balanced_rank(len(scores) * top_k, scores.shape[1])
    estimate = np.asarray(balancing.binned_quantile_bias(make(counts), make(bias), rank))
    return (np.minimum(estimate, 0) if inequalities else estimate), counts


def through_the_strategy(rule, parts, bias, top_k, layers=1):
    """One optimizer step of the strategy in float32; the scores come in micro-batches."""
    balancer = BALANCERS[type(rule)](rule)
    expert_bias = torch.tensor(bias, dtype=torch.float32)
    seen, counts = [], 0
    for part in parts:
        logits = torch.logit(torch.tensor(part, dtype=torch.float64)).float()
        routing = route(logits, top_k=top_k, expert_bias_E=expert_bias)
        counts_BE = sequence_counts(routing.topk_expert_ids_TK, 1, len(bias))
        seen.append(balancer.observe(LayerBatch(routing, counts_BE, expert_bias_E=expert_bias)))
        counts = counts + counts_BE.sum(0)
    moved = expert_bias.repeat(layers, 1)
    balancer.update(moved, counts.repeat(layers, 1), 0, [balancer.pool(seen)] * layers)
    return moved.numpy()


def test_hand_case() -> None:
    # Two experts, K = 1, four tokens: the cut-off is the other's score, and two tokens belong to each.
    scores = np.array([[0.9, 0.2], [0.8, 0.4], [0.7, 0.6], [0.3, 0.5]])
    # s - α: expert 0 has 0.7, 0.4, 0.1, 0; expert 1 has 0, 0, 0, 0.2. The third largest: 0.1 and 0.
    assert solve(scores, np.zeros(2), 1) == pytest.approx([-0.1, 0.0])
    assert balancing.blended(np.zeros(2), solve(scores, np.zeros(2), 1), 0.0) == pytest.approx([-0.05, 0.05])
    assert solve(scores, np.zeros(2), 1, inequalities=True) == pytest.approx([-0.1, 0.0])
    # Now three of four tokens went to expert 0; with a bias beyond -0.1 the third of them changes sides.
    loads = [np.argmax(scores + np.array([b, 0.0]), -1).tolist().count(0) for b in (-0.0999, -0.1001)]
    assert loads == [3, 2]


def test_an_idle_expert_is_lifted_by_the_quantile_and_not_by_bip() -> None:
    # Expert 2 is far behind for every token, expert 0 ahead.
    rng = np.random.default_rng(0)
    scores = 1 / (1 + np.exp(-(rng.standard_normal((60, 3)) * 0.3 + [1.0, 0.0, -3.0])))
    lifted = solve(scores, np.zeros(3), 1)
    pushed = solve(scores, np.zeros(3), 1, inequalities=True)
    assert lifted[0] < 0 < lifted[2]
    assert pushed[0] < 0
    assert pushed[1] == pushed[2] == 0


@FORMS
@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@given(case=steps())
def test_the_exact_form_equals_the_reference(make, inequalities: bool, case) -> None:
    scores, bias, top_k = case
    slow = quantiles.solution(scores, bias, top_k, inequalities=inequalities)
    assert solve(scores, bias, top_k, inequalities, make) == pytest.approx(slow, abs=1e-12)


@FORMS
@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@given(case=steps(), num_bins=st.sampled_from([7, 100, 1000]))
def test_the_histogram_is_within_a_bin_of_the_exact_quantile(
    make, inequalities: bool, case, num_bins: int
) -> None:
    scores, bias, top_k = case
    if inequalities:
        bias = -np.abs(bias)  # as BIP's is
    exact = np.array(quantiles.solution(scores, bias, top_k, inequalities=inequalities))
    estimate, counts = binned(scores, bias, top_k, num_bins, inequalities, make)
    assert np.abs(estimate - exact).max() <= quantiles.bin_width(bias, num_bins) * (1 + 1e-9)
    assert counts.sum(-1).tolist() == [len(scores)] * len(bias)
    slow = quantiles.histogram(scores, bias, top_k, num_bins, inequalities=inequalities)
    # A value on an edge may fall on either side of it.
    assert np.abs(np.cumsum(counts, -1) - np.cumsum(slow, -1)).max() <= 1


@given(case=steps())
def test_every_required_bias_lies_in_the_range_of_the_bins(case) -> None:
    scores, bias, top_k = case
    lowest, width = balancing.bin_range(bias)
    required = balancing.required_bias(scores, bias, top_k)
    assert required.min() >= lowest[0]
    assert required.max() <= lowest[0] + width[0] + 1e-12


@FORMS
@given(case=steps(), memory=st.sampled_from([0.0, 0.9]), cut=st.integers(0, 30))
def test_the_strategy_takes_the_micro_batches_of_a_step_together(
    inequalities: bool, case, memory: float, cut: int
) -> None:
    scores, bias, top_k = case
    if inequalities:
        bias = -np.abs(bias)
    kind = Bip if inequalities else Quantile
    slow = quantiles.updated(scores, bias, top_k, memory=memory, inequalities=inequalities)
    parts = [part for part in np.split(scores, [cut % len(scores)]) if len(part)]
    exact = through_the_strategy(kind(num_bins=0, bias_ema=memory), parts, bias, top_k, layers=2)
    for layer in exact:
        np.testing.assert_allclose(layer, slow, atol=ULP)
    binned_bias = through_the_strategy(kind(bias_ema=memory), parts, bias, top_k)[0]
    # One bin of error each, and another one from the mean that is subtracted.
    reach = 2 * (1 - memory) * quantiles.bin_width(bias, 1000)
    np.testing.assert_allclose(binned_bias, slow, atol=reach + ULP)


@FORMS
@given(case=steps(whole_share=True))
def test_the_dual_never_grows(inequalities: bool, case) -> None:
    # Both halves of a sweep are exact minima in their own multipliers.
    scores, bias, top_k = case
    if inequalities:
        bias = -np.abs(bias)
    before = quantiles.dual(scores, bias, top_k, inequalities=inequalities)
    new = quantiles.updated(scores, bias, top_k, inequalities=inequalities)
    assert quantiles.dual(scores, new, top_k, inequalities=inequalities) <= before + 1e-9


@given(case=steps(whole_share=True))
def test_with_the_cutoffs_held_every_expert_gets_its_share(case) -> None:
    # A runner-up needs exactly the bias that it has, so that several tokens may stand at the threshold.
    scores, bias, top_k = case
    required, solution = balancing.required_bias(scores, bias, top_k), solve(scores, bias, top_k)
    share = quantiles.share(scores, top_k)
    assert ((required < solution - 1e-12).sum(0) <= share).all()
    assert ((required <= solution + 1e-12).sum(0) > share).all()


@given(case=steps(whole_share=True))
def test_p09_the_solution_lies_below_an_overloaded_bias_and_not_below_others(case) -> None:
    scores, bias, top_k = case
    load = routing.count(routing.select(scores.tolist(), bias.tolist(), top_k), len(bias))
    for before, after, c in zip(bias, solve(scores, bias, top_k), load, strict=True):
        if c > quantiles.share(scores, top_k):
            assert after < before
        else:
            assert after >= before - 1e-12


def test_at_balance_nothing_moves_if_every_expert_is_a_runner_up() -> None:
    scores = np.array([[0.9, 0.5, 0.2], [0.2, 0.9, 0.5], [0.5, 0.2, 0.9]])
    assert solve(scores, np.zeros(3), 1).tolist() == [0.0, 0.0, 0.0]
    # Else its bias rises as far as its load allows: the loads stay, the bias does not.
    scores = np.array([[0.9, 0.5, 0.2], [0.5, 0.9, 0.2], [0.4, 0.5, 0.9]])
    assert solve(scores, np.zeros(3), 1) == pytest.approx([0.0, 0.0, 0.3])
    moved = balancing.blended(np.zeros(3), solve(scores, np.zeros(3), 1), 0.0)
    assert np.argmax(scores + moved, -1).tolist() == [0, 1, 2]


def test_quantiles_of_micro_batches_are_another_number_than_the_quantile_of_the_step() -> None:
    # What Megatron-LM's first form averages. One micro-batch likes expert 0, the other expert 1.
    rng = np.random.default_rng(3)
    first = 1 / (1 + np.exp(-(rng.standard_normal((64, 2)) + np.array([3.0, 0.0]))))
    second = 1 / (1 + np.exp(-(rng.standard_normal((192, 2)) + np.array([0.0, 0.5]))))
    averaged = np.mean([solve(part, np.zeros(2), 1) for part in (first, second)], 0)
    whole = solve(np.concatenate([first, second]), np.zeros(2), 1)
    assert np.abs(averaged - whole).max() > 0.05


@FORMS
def test_a_few_sweeps_balance_what_the_sign_rule_needs_hundreds_of_steps_for(inequalities: bool) -> None:
    rng = np.random.default_rng(1)
    scores = 1 / (1 + np.exp(-(rng.standard_normal((512, 8)) + np.linspace(2, -2, 8))))
    bias = np.zeros(8)
    violations = []
    for _ in range(30):
        load = np.bincount(np.argsort(-(scores + bias), -1)[:, :2].ravel(), minlength=8)
        violations.append(load.max() / load.mean() - 1)
        new = solve(scores, bias, 2, inequalities)
        bias = new if inequalities else balancing.blended(bias, new, 0.0)
    assert violations[0] > 1.5
    assert violations[5] < (1.0 if inequalities else 0.25)
    assert violations[-1] < (0.2 if inequalities else 0.05)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@given(case=steps(), num_bins=st.sampled_from([7, 100, 1000]))
def test_the_linear_reading_equals_the_reference(make, case, num_bins: int) -> None:
    scores, bias, top_k = case
    _, counts = binned(scores, bias, top_k, num_bins)
    target = len(scores) * top_k / len(bias)
    fast = np.asarray(balancing.linear_quantile_bias(make(counts), make(bias), target))
    slow = quantiles.linear_quantile(counts.tolist(), bias.tolist(), len(scores), top_k)
    # Torch divides integers in float32.
    assert fast == pytest.approx(slow, abs=1e-12 if make is np.asarray else 1e-6)


def test_the_linear_reading_of_a_hand_case() -> None:
    # Bias 0 and four bins over [-1, 1]; K/N = 1/2 of four tokens: the second value. Expert 0 has two in the
    # second bin, so the second is at its end; expert 1 has one below and three in the third.
    counts = np.array([[0, 2, 2, 0], [1, 0, 3, 0]])
    assert balancing.linear_quantile_bias(counts, np.zeros(2), 2.0) == pytest.approx([0.0, 0.5 / 3])


@given(case=steps())
def test_the_strategy_uses_the_linear_reading_and_centres_it(case) -> None:
    scores, bias, top_k = case
    bias = bias.astype(np.float32)
    _, counts = binned(scores.astype(np.float32), bias, top_k, 50)
    slow = np.array(quantiles.linear_quantile(counts.tolist(), bias.tolist(), len(scores), top_k))
    moved = through_the_strategy(Quantile(num_bins=50, estimator="linear"), [scores], bias, top_k)[0]
    # A value on the edge of a bin may be counted on either side of it.
    assert moved == pytest.approx(slow - slow.mean(), abs=2 * quantiles.bin_width(bias.tolist(), 50))


TITAN_ROWS = [
    [[0.92, 0.68, 0.31, 0.07], [0.07, 0.31, 0.92, 0.68]],
    [[0.68, 0.92, 0.07, 0.31], [0.31, 0.07, 0.68, 0.92]],
]
TITAN_ALONE = [
    [[-0.5, -0.1, 0.1, 0.5], [0.5, 0.1, -0.5, -0.1]],
    [[-0.1, -0.5, 0.5, 0.1], [0.1, 0.5, -0.1, -0.5]],
]
TITAN_TOGETHER = [[-0.2, 0.2, -0.2, 0.2], [0.2, -0.2, 0.2, -0.2]]
"""Scores, and the biases that torchtitan's quantile router must reach: two layers, two ranks of four equal
tokens each, K = 1, 10 bins, no bias before. The numbers are those of its test of the distributed update (pull
request 4577); no release has the router, 0.3.0 being the last."""


@pytest.mark.parametrize("layer", [0, 1])
def test_p10_the_linear_reading_reaches_the_biases_of_torchtitans_own_test(layer: int) -> None:
    rule = Quantile(num_bins=10, estimator="linear")
    ranks = [np.tile(row, (4, 1)) for row in TITAN_ROWS[layer]]
    for rank, expected in zip(ranks, TITAN_ALONE[layer], strict=True):
        assert through_the_strategy(rule, [rank], [0.0] * 4, 1)[0] == pytest.approx(expected, abs=ULP)
    together = through_the_strategy(rule, ranks, [0.0] * 4, 1)[0]
    assert together == pytest.approx(TITAN_TOGETHER[layer], abs=ULP)


def test_the_linear_reading_needs_a_histogram() -> None:
    with pytest.raises(ConfigError, match=r"quantile.estimator = 'linear'"):
        Quantile(num_bins=0, estimator="linear")
