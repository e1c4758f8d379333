"""Bias updates against the slow reference, and the pitfalls of updating (P9 to P13)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import biases, routing
from sentences import pattern
from strategies import MARGIN, cases, counts, smallest_gap

from explorer.config.rule_text import AuxLoss, LossFree, SequenceAuxLoss, ZLoss
from explorer.model.balancers import CombinedBalancer, LossFreeBalancing
from explorer.routing import balancing

RULES = ("sign", "proportional", "rms")


def delta(values, rule="sign", u=1.0, centred=False):
    """The fast rule on numpy counts, as a list."""
    return balancing.bias_delta(
        np.asarray(values), update_rule=rule, bias_update_rate=u, centred=centred
    ).tolist()


@given(
    values=counts(),
    rule=st.sampled_from(RULES),
    centred=st.booleans(),
    u=st.sampled_from([1e-4, 1e-3, 0.1]),
)
def test_bias_delta_equals_the_reference_in_numpy_and_torch(
    values: list[int], rule: str, centred: bool, u: float
) -> None:
    slow = biases.updated([0.0] * len(values), values, u, rule, centred)
    assert delta(values, rule, u, centred) == pytest.approx(slow, rel=1e-9, abs=1e-15)
    in_torch = balancing.bias_delta(
        torch.tensor(values), update_rule=rule, bias_update_rate=u, centred=centred
    )
    assert in_torch.tolist() == pytest.approx(slow, rel=1e-5, abs=1e-8)


@given(layers=st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=4))
@pytest.mark.parametrize("rule", RULES)
def test_layers_are_updated_one_by_one(rule: str, layers: list[list[int]]) -> None:
    together = delta(layers, rule)
    assert together == [delta(row, rule) for row in layers]


@given(values=counts(), rule=st.sampled_from(RULES))
def test_p09_an_overloaded_expert_goes_down_and_an_underloaded_one_up(values: list[int], rule: str) -> None:
    total = sum(values)
    for c, moved in zip(values, delta(values, rule), strict=True):
        assert np.sign(moved) == np.sign(total - len(values) * c)


def test_p09_hand_case() -> None:
    assert delta([10, 0], u=0.1) == [-0.1, 0.1]
    assert delta([6, 2, 4], u=0.1) == [-0.1, 0.1, 0.0]
    assert delta([5, 5, 5]) == [0.0, 0.0, 0.0]
    assert delta([6, 2, 4], "proportional", u=0.1) == pytest.approx([-0.05, 0.05, 0.0])
    assert delta([6, 2, 4], "rms", u=0.1) == pytest.approx([-0.1 * 1.5**0.5, 0.1 * 1.5**0.5, 0.0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("centred", [False, True])
def test_p09_without_tokens_or_at_balance_nothing_moves(rule: str, centred: bool) -> None:
    assert delta([0, 0, 0], rule, centred=centred) == [0.0, 0.0, 0.0]
    assert delta([9, 9, 9], rule, centred=centred) == [0.0, 0.0, 0.0]


@given(values=counts(), factor=st.integers(2, 1000), rule=st.sampled_from(RULES))
def test_no_rule_depends_on_the_batch_size(values: list[int], factor: int, rule: str) -> None:
    assert delta([factor * c for c in values], rule) == pytest.approx(delta(values, rule), abs=1e-12)


@given(values=counts())
def test_step_sizes_are_bounded(values: list[int]) -> None:
    assert max(map(abs, delta(values, "sign", u=0.01))) <= 0.01
    assert max(map(abs, delta(values, "sign", u=0.01, centred=True))) < 0.02
    rms = np.sqrt(np.mean(np.square(delta(values, "rms", u=0.01))))
    assert rms == pytest.approx(0.01) or rms == 0
    assert sum(delta(values, "proportional")) == pytest.approx(0, abs=1e-9)


@given(case=cases(min_experts=3))
def test_p10_centred_and_plain_rules_choose_the_same_experts_and_plain_drifts(case) -> None:
    scores, plain, centred = case.scores_TE, [0.0] * case.num_experts, [0.0] * case.num_experts
    for _ in range(15):
        expert_ids = routing.select(scores, plain, case.top_k)
        if smallest_gap(routing.biased(scores, plain, "additive")) > MARGIN:
            assert expert_ids == routing.select(scores, centred, case.top_k)
        load = np.asarray(routing.count(expert_ids, case.num_experts))
        plain = list(plain + balancing.bias_delta(load, update_rule="sign", bias_update_rate=0.003))
        centred = list(
            centred + balancing.bias_delta(load, update_rule="sign", bias_update_rate=0.003, centred=True)
        )
    assert np.mean(centred) == pytest.approx(0, abs=1e-12)
    assert np.subtract(plain, centred) == pytest.approx(np.mean(plain))


def test_p10_the_plain_rule_drifts_where_few_experts_are_hot() -> None:
    # Three of four experts below the mean: all biases rise together by u / 2 a step.
    moves = [delta([10, 2, 2, 2], u=0.01) for _ in range(100)]
    assert np.sum(moves, 0).mean() == pytest.approx(100 * 0.01 / 2)


@given(first=counts(max_experts=2), second=counts(max_experts=2))
def test_p12_counts_are_summed_before_the_sign_is_taken(first: list[int], second: list[int]) -> None:
    summed = np.asarray(first) + np.asarray(second)
    balancer = LossFreeBalancing(LossFree(bias_update_rate=0.5))
    bias = torch.zeros(2)
    balancer.update(bias, torch.from_numpy(summed), step=0)
    assert bias.tolist() == biases.updated([0, 0], summed.tolist(), 0.5)


def test_p12_mean_of_signs_is_another_rule() -> None:
    # One rank (or micro-batch) is mildly imbalanced one way twice, one strongly the other way.
    parts = [[6, 4], [6, 4], [0, 10]]
    mean_of_signs = np.mean([delta(part) for part in parts], 0)
    assert np.sign(mean_of_signs).tolist() == [-1.0, 1.0]
    assert delta(np.sum(parts, 0)) == [1.0, -1.0]


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_p13_large_counts_stay_exact(make) -> None:
    # 2^24 + 1 is not a float32: one token too many must still be seen, and exact balance be zero.
    base = 2**24
    values = make([base + 1, base - 1, base, base])
    moved = balancing.bias_delta(values, update_rule="sign", bias_update_rate=1.0)
    assert moved.tolist() == [-1.0, 1.0, 0.0, 0.0]
    values = make([40_840 * 10**6 + 1, 40_840 * 10**6 - 1])
    moved = balancing.bias_delta(values, update_rule="sign", bias_update_rate=1.0)
    assert moved.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "uint64"])
def test_p13_counts_of_any_integer_type_do_not_wrap(dtype: str) -> None:
    values = np.asarray([250, 2, 1], dtype=dtype)
    for rule in RULES:
        expected = biases.updated([0, 0, 0], [250, 2, 1], 1.0, rule)
        for given_counts in (values, torch.from_numpy(values)):
            moved = balancing.bias_delta(given_counts, update_rule=rule, bias_update_rate=1.0)
            assert moved.tolist() == pytest.approx(expected)


def test_an_unknown_rule_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=pattern("model.bias_update_rules")):
        balancing.bias_delta(np.asarray([1, 2]), update_rule="adam", bias_update_rate=0.1)


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
@pytest.mark.parametrize("rule", RULES)
def test_a_balancer_moves_the_buffer_in_place_from_its_neutral_value(form: str, rule: str) -> None:
    combined = CombinedBalancer([AuxLoss(), LossFree(bias_form=form, update_rule=rule), ZLoss()])
    assert combined.neutral_bias == biases.NEUTRAL[form]
    bias = torch.full((4,), combined.neutral_bias)
    slow = bias.tolist()
    for step, load in enumerate([[7, 1, 0, 0], [4, 4, 0, 0], [2, 2, 2, 2]]):
        combined.update(bias, torch.tensor(load), step)
        slow = biases.updated(slow, load, 0.003, rule)
    assert bias.dtype == torch.float32
    assert bias.tolist() == pytest.approx(slow, rel=1e-5, abs=1e-8)


def test_the_bias_freezes_after_its_step() -> None:
    combined = CombinedBalancer([LossFree(bias_update_rate=0.5, freeze_after_step=2)])
    bias = torch.zeros(2)
    seen = []
    for step in range(4):
        combined.update(bias, torch.tensor([5, 1]), step)
        seen.append((combined.rate(step), bias.tolist()))
    assert seen == [(0.5, [-0.5, 0.5]), (0.5, [-1.0, 1.0]), (0.0, [-1.0, 1.0]), (0.0, [-1.0, 1.0])]


@pytest.mark.parametrize("rule", [AuxLoss(), SequenceAuxLoss(), ZLoss()])
def test_losses_never_move_a_bias(rule) -> None:
    combined = CombinedBalancer([rule])
    bias = torch.zeros(2)
    combined.update(bias, torch.tensor([5, 1]), 0)
    assert bias.tolist() == [0.0, 0.0]
    assert not combined.uses_bias
    assert combined.rate(0) is None


def test_a_bias_that_follows_the_loads_balances_them() -> None:
    # Fixed scores with one hot expert: the rule must bring MaxVio down, not up (a sign flip would).
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((400, 8)) + np.linspace(1.5, -1.5, 8)
    scores = 1 / (1 + np.exp(-logits))
    bias, violations = np.zeros(8), []
    for _ in range(300):
        expert_ids = np.argsort(-balancing.biased_scores(scores, bias, "additive"), -1)[:, :2]
        load = np.bincount(expert_ids.ravel(), minlength=8)
        violations.append(load.max() / load.mean() - 1)
        bias += balancing.bias_delta(load, update_rule="sign", bias_update_rate=0.003)
    assert violations[0] > 1
    assert np.mean(violations[-50:]) < 0.1
