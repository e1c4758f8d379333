"""Gates, groups and top-p against the slow reference, and the pitfalls that they bring."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from choice_strategies import SCORE_FUNCS, Choice, choices, is_clear, lists, weights
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import token_choice
from routes import route

from explorer.config.model import ModelConfig
from explorer.model.gates import scores
from explorer.model.loss_balancers import balance_loss
from explorer.model.router import (
    LayerContext,
    Router,
    Routing,
    choice_margin,
    sequence_counts,
    switched_slots,
    unbiased_choice,
    unbiased_top_k,
)
from explorer.model.token_choice import NoisyRouter
from explorer.model.token_choice import token_choice as token_choice_layer
from explorer.routing.spec import divisor


def same(a: Routing, b: Routing) -> bool:
    """Equal choices and weights, bit for bit."""
    return torch.equal(a.topk_expert_ids_TK, b.topk_expert_ids_TK) and torch.equal(
        a.gate_weights_TK, b.gate_weights_TK
    )


@given(choice=choices(), with_bias=st.booleans())
def test_choice_and_gates_equal_the_reference(choice: Choice, with_bias: bool) -> None:
    bias = choice.bias_E if with_bias else None
    fast = choice.route(bias)
    np.testing.assert_allclose(fast.scores_TE.numpy(), choice.scores_TE, rtol=1e-5, atol=1e-7)
    expert_ids = choice.expert_ids(bias)
    assert lists(fast) == expert_ids
    slow = token_choice.gates(choice.weighing_TE, expert_ids, choice.divide_by, choice.route_scale)
    for mine, theirs in zip(weights(fast), slow, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-7)


@given(choice=choices())
def test_empty_slots_hold_e_with_gate_0_after_all_others_and_are_not_served(choice: Choice) -> None:
    fast = choice.route(choice.bias_E)
    ids, gates = fast.topk_expert_ids_TK, fast.gate_weights_TK
    empty = ids == choice.num_experts
    assert bool((gates[empty] == 0).all())
    assert bool((gates[~empty] > 0).all())
    assert int(ids.max()) <= choice.num_experts
    assert torch.equal(empty.long().sort(dim=1).values, empty.long())
    if choice.top_p is None:
        assert ids.shape[1] == choice.top_k
        assert not empty.any()
        assert fast.served_TK is None
    else:
        assert ids.shape[1] == choice.num_experts
        assert torch.equal(fast.served_TK, ~empty)


@given(choice=choices())
def test_switched_slots_and_margin_equal_the_reference(choice: Choice) -> None:
    fast = choice.route(choice.bias_E)
    with_bias, without = choice.expert_ids(choice.bias_E), choice.expert_ids(None)
    assert int(switched_slots(fast, fast.topk_expert_ids_TK.shape[1])) == token_choice.switched(
        with_bias, without
    )
    groups = (choice.num_groups, choice.top_k_groups)
    slow = token_choice.margin(choice.compared(choice.bias_E), with_bias, *groups)
    margin = choice_margin(fast)
    if slow is None:
        assert margin is None or bool(margin.isnan())
    else:
        assert float(margin) == pytest.approx(slow, rel=1e-3, abs=1e-6)


@given(choice=choices())
def test_without_a_bias_no_slot_is_switched(choice: Choice) -> None:
    fast = choice.route(None)
    assert int(switched_slots(fast, fast.topk_expert_ids_TK.shape[1])) == 0
    assert torch.equal(unbiased_choice(fast), fast.topk_expert_ids_TK)


@given(choice=choices())
def test_v3_sequence_loss_counts_the_unbiased_choice_over_all_experts(choice: Choice) -> None:
    everywhere = replace(choice, num_groups=1, top_k_groups=1)
    assume(is_clear(everywhere, None))
    counts = sequence_counts(unbiased_top_k(choice.route(choice.bias_E)), 1, choice.num_experts)[0]
    expected = [0] * choice.num_experts
    for experts in everywhere.expert_ids(None):
        for expert in experts:
            expected[expert] += 1
    assert counts.tolist() == expected


@given(choice=choices(), kept=st.booleans())
def test_p03_gates_do_not_depend_on_the_bias_while_the_chosen_set_stands(choice: Choice, kept: bool) -> None:
    fast = choice.route(choice.bias_E)
    for token, experts in enumerate(lists(fast)):
        # Any choice of the same set by another route: all of the set, by a bias no score can beat.
        forced = [9.0 if expert in experts else 0.0 for expert in range(choice.num_experts)]
        one = choice.route(
            forced,
            logits=torch.from_numpy(choice.logits_TE[token : token + 1]),
            bias_form="additive",
            top_k=len(experts),
            top_p=None,
            num_groups=1,
            top_k_groups=1,
            divide_by=choice.divide_by,
        )
        mine = dict(zip(experts, weights(fast)[token], strict=True))
        theirs = dict(zip(lists(one)[0], weights(one)[0], strict=True))
        assert mine == pytest.approx(theirs, rel=1e-5)


@given(choice=choices(), constant=st.sampled_from([-1.0, -0.125, 0.25, 4.0]))
def test_p04_a_constant_added_to_all_biases_changes_nothing(choice: Choice, constant: float) -> None:
    choice = replace(choice, bias_form="additive")
    assume(is_clear(choice, choice.bias_E))
    shifted = choice.route(choice.bias_E + np.float32(constant))
    assert lists(shifted) == lists(choice.route(choice.bias_E))


def test_p04_with_all_biases_at_minus_1_the_rejected_group_does_not_win() -> None:
    # Sigmoid scores 0.88, 0.73 | 0.62, 0.12. With zeros in place of -inf, experts 2 and 3 of the rejected
    # group (at 0) would beat experts 0 and 1 of the kept one (at -0.12 and -0.27).
    logits = torch.tensor([[2.0, 1.0, 0.5, -2.0]])
    options = {"top_k": 2, "num_groups": 2, "top_k_groups": 1}
    assert route(logits, **options).topk_expert_ids_TK.tolist() == [[0, 1]]
    below = route(logits, expert_bias_E=torch.full((4,), -1.0), **options)
    assert below.topk_expert_ids_TK.tolist() == [[0, 1]]


@given(choice=choices())
def test_p05_neutral_bias_is_bit_identical_to_no_bias(choice: Choice) -> None:
    none = choice.route(None)
    assert same(none, choice.route(np.zeros(choice.num_experts), bias_form="additive"))
    assert same(none, choice.route(np.ones(choice.num_experts), bias_form="multiplicative"))


@given(choice=choices())
def test_p06_experts_of_a_token_are_distinct_and_at_least_one(choice: Choice) -> None:
    for experts in lists(choice.route(choice.bias_E)):
        assert 1 <= len(set(experts)) == len(experts)


@pytest.mark.parametrize("score_func", SCORE_FUNCS)
def test_p06_p_of_1_takes_everybody(score_func: str) -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    taken = lists(route(logits, top_k=2, score_func=score_func, top_p=1.0))
    # All but those whose share is lost in rounding; here none is that small.
    assert [len(set(row)) for row in taken] == [7] * 50


@given(choice=choices(top_p=False))
def test_p07_a_single_expert_is_never_renormalised(choice: Choice) -> None:
    one = choice.route(choice.bias_E, top_k=1, normalize_gates=True)
    expected = torch.tensor(choice.weighing_TE).gather(1, one.topk_expert_ids_TK) * choice.route_scale
    torch.testing.assert_close(one.gate_weights_TK, expected.float(), rtol=1e-4, atol=1e-6)


def test_p07_with_top_p_a_token_with_one_expert_still_teaches_its_router() -> None:
    logits = torch.tensor([[3.0, 0.0, -1.0]], requires_grad=True)
    fast = route(logits, top_k=2, score_func="softmax", top_p=0.5)
    assert lists(fast) == [[0]]
    fast.gate_weights_TK.sum().backward()
    assert float(logits.grad.norm()) > 0.01


def test_p07_how_gates_are_divided_is_decided_in_training() -> None:
    # A model trained with K = 2 has gates that sum to 1; evaluated with K = 1 they still do.
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    assert divisor(True, 2) == "chosen"
    assert divisor(True, 1) == "nothing"
    assert divisor(False, 2) == "nothing"
    assert divisor(True, 2, 0.5) == "all"
    assert divisor(False, 2, 0.5) == "nothing"
    assert route(logits, top_k=1, divide_by=divisor(True, 2)).gate_weights_TK.tolist() == [[1.0]]
    trained_with_one = route(logits, top_k=2, divide_by=divisor(True, 1)).gate_weights_TK
    assert torch.equal(trained_with_one, logits.sigmoid()[:, :2])


@given(choice=choices(groups=True, top_p=False))
def test_p08_groups_are_scored_by_their_two_best_biased_scores(choice: Choice) -> None:
    """Against another way to say it: every set of groups, by the sum that it would have."""
    size = choice.num_experts // choice.num_groups
    rows = choice.compared(choice.bias_E)
    for row, experts in zip(rows, lists(choice.route(choice.bias_E)), strict=True):
        worth = [sum(sorted(row[g * size : (g + 1) * size])[-2:]) for g in range(choice.num_groups)]
        used = {expert // size for expert in experts}
        assert len(used) <= choice.top_k_groups
        best = sorted(worth)[-choice.top_k_groups :]
        assert all(worth[group] >= best[0] for group in used)
        # Within those groups it is the plain top-K.
        inside = [row[e] for e in range(choice.num_experts) if worth[e // size] >= best[0]]
        assert sorted(row[e] for e in experts) == sorted(inside)[-choice.top_k :]


def test_p08_hand_case_two_good_experts_beat_one_very_good() -> None:
    # Groups (0, 1), (2, 3), (4, 5): sums 1.0, 1.1, 0.6. By the single best score group 0 would win.
    scores_E = torch.tensor([[0.9, 0.1, 0.5, 0.6, 0.3, 0.3001]])
    options = {"top_k": 2, "num_groups": 3, "top_k_groups": 1}
    assert route(scores_E.logit(), **options).topk_expert_ids_TK.tolist() == [[3, 2]]
    # The bias counts: it lifts group 2 to 1.2, and both its experts above the others.
    bias = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.3, 0.3])
    assert route(scores_E.logit(), expert_bias_E=bias, **options).topk_expert_ids_TK.tolist() == [[5, 4]]


@given(choice=choices(groups=False, top_p=False))
def test_softmax_after_top_k_is_softmax_before_it_divided_by_the_sum(choice: Choice) -> None:
    if choice.top_k == 1:  # the exception: never divided, because it would be 1
        return
    fast = choice.route(
        choice.bias_E, score_func="softmax", gate_func=None, normalize_gates=True, route_scale=1.0
    )
    kept = torch.from_numpy(choice.logits_TE).gather(1, fast.topk_expert_ids_TK)
    torch.testing.assert_close(fast.gate_weights_TK, kept.softmax(-1), rtol=1e-4, atol=1e-6)


@given(choice=choices())
def test_gate_function_weighs_and_does_not_choose(choice: Choice) -> None:
    plain = choice.route(choice.bias_E, gate_func=None)
    other = choice.route(choice.bias_E, gate_func="softmax")
    assert torch.equal(plain.topk_expert_ids_TK, other.topk_expert_ids_TK)
    assert torch.equal(plain.scores_TE, other.scores_TE)


def test_gate_gradient_runs_through_the_gate_function_alone() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    fast = route(logits, top_k=2, score_func="sigmoid", gate_func="softmax", normalize_gates=False)
    fast.gate_weights_TK.sum().backward()
    other = logits.detach().clone().requires_grad_()
    other.softmax(-1).gather(1, fast.topk_expert_ids_TK).sum().backward()
    torch.testing.assert_close(logits.grad, other.grad)


@given(choice=choices())
def test_gates_sum_as_they_should(choice: Choice) -> None:
    fast = choice.route(choice.bias_E)
    sums = fast.gate_weights_TK.sum(-1) / choice.route_scale
    if choice.divide_by == "chosen":
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-4, atol=1e-5)
    elif choice.divide_by == "all":
        assert float(sums.max()) <= 1 + 1e-5
        if choice.gate_func is None and choice.top_k_groups == choice.num_groups:
            assert float(sums.min()) >= choice.top_p - 1e-5


@given(choice=choices(), seed=st.integers(0, 1000))
def test_p33_permuting_tokens_leaves_counts_and_permuting_experts_permutes_all(
    choice: Choice, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = choice.num_experts // choice.num_groups
    tokens = rng.permutation(len(choice.logits_TE))
    # Experts are renamed group by group, and within a group: that is all the freedom that groups leave.
    experts = np.concatenate([g * size + rng.permutation(size) for g in rng.permutation(choice.num_groups)])
    logits, bias = torch.from_numpy(choice.logits_TE), choice.bias_E
    base = choice.route(bias)
    counts = sequence_counts(base.topk_expert_ids_TK, 1, choice.num_experts)[0]
    shuffled = choice.route(bias, logits=logits[tokens])
    assert torch.equal(sequence_counts(shuffled.topk_expert_ids_TK, 1, choice.num_experts)[0], counts)
    torch.testing.assert_close(shuffled.gate_weights_TK, base.gate_weights_TK[tokens])
    renamed = choice.route(bias[experts], logits=logits[:, experts])
    assert [[int(experts[e]) for e in row] for row in lists(renamed)] == lists(base)
    torch.testing.assert_close(renamed.gate_weights_TK, base.gate_weights_TK, rtol=1e-4, atol=1e-6)


@given(choice=choices(), sequences=st.integers(1, 3))
def test_p28_counts_sum_to_the_experts_that_tokens_took(choice: Choice, sequences: int) -> None:
    logits = torch.from_numpy(choice.logits_TE).repeat(sequences, 1)
    fast = choice.route(choice.bias_E, logits=logits)
    counts_BE = sequence_counts(fast.topk_expert_ids_TK, sequences, choice.num_experts)
    taken = sum(len(row) for row in choice.expert_ids(choice.bias_E))
    assert counts_BE.sum(1).tolist() == [taken] * sequences


def test_top_p_hand_case() -> None:
    # Shares 0.5, 0.3, 0.15, 0.05.
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for p, number in ((0.05, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4)):
        fast = route(logits, top_k=2, score_func="softmax", top_p=p)
        assert lists(fast) == [[0, 1, 2, 3][:number]]
        # The paper's gates are the probabilities themselves.
        assert weights(fast)[0] == pytest.approx([0.5, 0.3, 0.15, 0.05][:number], rel=1e-5)
    # A bias changes the order, and what is added up are still the scores: 0.05 + 0.5 reach 0.51.
    bias = torch.tensor([0.0, 0.0, 0.0, 0.9])
    biased = route(logits, top_k=2, score_func="softmax", top_p=0.51, expert_bias_E=bias)
    assert lists(biased) == [[3, 0]]


def test_seq_aux_has_a_gradient_with_top_p() -> None:
    """With K = E slots a top-K over all slots would count everybody: the loss would be 1 for any router."""
    logits = torch.randn(16, 6, generator=torch.Generator().manual_seed(2), requires_grad=True)
    fast = route(2 * logits, top_k=2, top_p=0.4)
    counts = sequence_counts(unbiased_top_k(fast), 2, 6)
    assert int(counts.sum()) < 16 * 6
    balance_loss(fast.scores_TE, counts, scope="sequence").backward()
    assert float(logits.grad.norm()) > 1e-4


def test_sqrt_softplus_has_a_finite_gradient_for_any_logit() -> None:
    logits = torch.tensor([[-500.0, -120.0, -30.0, 0.0, 30.0, 500.0]], requires_grad=True)
    values = scores(logits, "sqrt_softplus")
    expected = [0.0, 0.0, np.exp(-15.0), np.sqrt(np.log(2)), np.sqrt(30.0), np.sqrt(500.0)]
    assert values[0].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-15)
    values.sum().backward()
    assert bool(logits.grad.isfinite().all())


def test_an_unknown_score_function_is_refused() -> None:
    with pytest.raises(ValueError, match="tanh"):
        scores(torch.zeros(1, 2), "tanh")


@given(choice=choices(groups=False, top_p=False))
def test_the_plain_path_is_the_formula_bit_for_bit(choice: Choice) -> None:
    """What runs recorded before there were any of these settings computed."""
    logits, bias = torch.from_numpy(choice.logits_TE), torch.from_numpy(choice.bias_E)
    values = logits.softmax(-1) if choice.score_func == "softmax" else logits.sigmoid()
    ids = (values + bias).topk(choice.top_k, dim=-1).indices
    gates = values.gather(-1, ids)
    if choice.normalize_gates and choice.top_k > 1:
        gates = gates / gates.sum(-1, keepdim=True).clamp_min(1e-20)
    if choice.route_scale != 1.0:
        gates = gates * choice.route_scale
    score_func = "softmax" if choice.score_func == "softmax" else "sigmoid"
    fast = choice.route(choice.bias_E, score_func=score_func, gate_func=None, bias_form="additive")
    assert torch.equal(fast.topk_expert_ids_TK, ids)
    assert torch.equal(fast.gate_weights_TK, gates)
    assert torch.equal(fast.scores_TE, values)


def layer_of(**settings: object) -> tuple[Router, ModelConfig, torch.Tensor]:
    """A router of 4 experts, the model's configuration, and 8 tokens."""
    config = ModelConfig(num_experts=4, top_k=2, hidden_size=16, **settings)
    torch.manual_seed(0)
    router = (NoisyRouter if config.noisy_top_k else Router)(16, 4, 0.5)
    return router, config, torch.randn(8, 16)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.1, 1.0]))
def test_noisy_logits_equal_the_reference(seed: int, scale: float) -> None:
    router, config, x = layer_of(noisy_top_k=True, score_func="softmax", normalize_gates=False)
    noise_weight = scale * torch.randn(4, 16, generator=torch.Generator().manual_seed(seed))
    router.noise_weight_ED.data.copy_(noise_weight)
    context = LayerContext(layer=1, tokens_T=torch.zeros(8, dtype=torch.int64), is_training=True, seed=seed)
    fast = token_choice_layer(router, x, config, None, context)
    normal = torch.randn(8, 4, generator=context.generator(x.device))
    noisy = token_choice.noisy(router(x).tolist(), x.tolist(), noise_weight.tolist(), normal.tolist())
    np.testing.assert_allclose(fast.scores_TE.tolist(), token_choice.scores(noisy, "softmax"), rtol=1e-4)


@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.1, 3.0]))
def test_router_noise_is_gaussian_on_the_logits_that_choose(seed: int, size: float) -> None:
    router, config, x = layer_of(router_noise=size)
    context = LayerContext(layer=0, tokens_T=torch.zeros(8, dtype=torch.int64), is_training=True, seed=seed)
    fast = token_choice_layer(router, x, config, None, context)
    normal = torch.randn(8, 4, generator=context.generator(x.device))
    logits = (router(x) + size * normal).detach()
    assert torch.equal(fast.topk_expert_ids_TK, logits.sigmoid().topk(2).indices)
    assert torch.equal(fast.choosing_TE, logits.sigmoid())
    assert int(switched_slots(fast)) == 0  # noise moved experts, not the bias
