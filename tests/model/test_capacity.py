"""Capacity, dropping and GShard's random second expert against the slow reference."""

import numpy as np
import pytest
import torch
from choice_strategies import Choice, choices, lists, weights
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import token_choice
from routes import route
from tiny import make_tiny_config

from explorer.config.rule_text import LossFree
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.capacity import capacity, limited, random_second, within_capacity
from explorer.model.experts import Experts
from explorer.model.router import ForwardContext, Routing, sequence_counts

POLICIES = ("probability", "position")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def served(routing: Routing) -> list[list[bool]]:
    """Whether each of a token's experts serves it; empty slots left out."""
    num_experts = routing.scores_TE.shape[1]
    ids, mask = routing.topk_expert_ids_TK.tolist(), routing.served_TK.tolist()
    return [
        [bool(m) for e, m in zip(a, b, strict=True) if e < num_experts]
        for a, b in zip(ids, mask, strict=True)
    ]


@given(
    choice=choices(max_tokens=12),
    factor=st.sampled_from([0.1, 0.5, 1.0, 1.25, 8.0]),
    policy=st.sampled_from(POLICIES),
)
def test_served_assignments_equal_the_reference(choice: Choice, factor: float, policy: str) -> None:
    demand = choice.route(choice.bias_E)
    flat = np.sort(np.concatenate([np.array(row) for row in weights(demand)]))
    assume(policy == "position" or len(flat) < 2 or np.diff(flat).min() > 1e-6)
    fast = limited(demand, factor, policy, choice.top_k)
    most = capacity(factor, len(choice.logits_TE), choice.top_k, choice.num_experts)
    expert_ids = choice.expert_ids(choice.bias_E)
    slow_weights = token_choice.gates(choice.weighing_TE, expert_ids, choice.divide_by, choice.route_scale)
    expected = token_choice.served(expert_ids, slow_weights, choice.num_experts, most, policy)
    assert served(fast) == expected
    # Demand stays; what is dropped has gate 0; the rest keep theirs, not divided again.
    assert torch.equal(fast.topk_expert_ids_TK, demand.topk_expert_ids_TK)
    assert torch.equal(fast.gate_weights_TK, demand.gate_weights_TK * fast.served_TK)


@given(
    choice=choices(max_tokens=12), factor=st.sampled_from([0.1, 1.0, 1.5]), policy=st.sampled_from(POLICIES)
)
def test_p28_served_and_dropped_add_up_to_demand(choice: Choice, factor: float, policy: str) -> None:
    demand = choice.route(choice.bias_E)
    fast = limited(demand, factor, policy, choice.top_k)
    most = capacity(factor, len(choice.logits_TE), choice.top_k, choice.num_experts)
    wanted = sequence_counts(fast.topk_expert_ids_TK, 1, choice.num_experts)[0]
    ids = fast.topk_expert_ids_TK.where(fast.served_TK, choice.num_experts)
    given_ = sequence_counts(ids, 1, choice.num_experts)[0]
    assert given_.tolist() == [min(count, most) for count in wanted.tolist()]
    if choice.top_p is None:
        assert int(wanted.sum()) == len(choice.logits_TE) * choice.top_k


@given(choice=choices(top_p=False), policy=st.sampled_from(POLICIES))
def test_room_for_everybody_changes_nothing(choice: Choice, policy: str) -> None:
    demand = choice.route(choice.bias_E)
    fast = limited(demand, choice.num_experts / choice.top_k, policy, choice.top_k)
    assert bool(fast.served_TK.all())
    assert torch.equal(fast.gate_weights_TK, demand.gate_weights_TK)


@pytest.mark.parametrize(
    ("factor", "tokens", "top_k", "experts", "expected"),
    [(1.0, 8, 2, 4, 4), (1.25, 8, 2, 4, 5), (1.1, 20, 2, 4, 11), (0.3, 10, 1, 3, 1), (0.01, 1, 1, 64, 1)],
)
def test_capacity_is_the_exact_ceiling(factor, tokens, top_k, experts, expected) -> None:
    # 1.1 · 10 is 11.000000000000002 in floats, whose ceiling is 12.
    assert capacity(factor, tokens, top_k, experts) == expected


def test_hand_case_position_takes_first_choices_before_second_ones() -> None:
    ids = torch.tensor([[0, 1], [1, 0], [0, 1]])
    # Expert 0 is asked by token 0 and 2 first and by token 1 second; room for two.
    assert within_capacity(ids, None, 2, 2).tolist() == [[True, True], [True, False], [True, False]]
    # By priority: expert 0 serves tokens 1 and 2, expert 1 tokens 0 and 1.
    gates = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2]])
    assert within_capacity(ids, gates, 2, 2).tolist() == [[False, True], [True, True], [True, False]]


def test_ties_go_to_the_earlier_choice_then_to_the_earlier_token() -> None:
    ids = torch.tensor([[1, 0], [0, 1], [0, 1]])
    ties = torch.full((3, 2), 0.5)
    assert torch.equal(within_capacity(ids, ties, 2, 1), within_capacity(ids, None, 2, 1))
    assert within_capacity(ids, ties, 2, 1).tolist() == [[True, False], [True, False], [False, False]]


def test_nothing_is_served_in_an_empty_slot() -> None:
    ids = torch.tensor([[0, 2], [2, 2], [1, 2]])
    assert within_capacity(ids, None, 2, 5).tolist() == [[True, False], [False, False], [True, False]]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dispatch", ["grouped", "loop"])
def test_dispatch_of_what_is_served_equals_the_dense_oracle(policy: str, dispatch: str) -> None:
    x = torch.randn(24, 8, generator=generator(3), requires_grad=True)
    logits = torch.randn(24, 4, generator=generator(4), requires_grad=True)
    results = []
    for kind in (dispatch, "dense"):
        x.grad = logits.grad = None
        torch.manual_seed(0)
        experts = Experts(4, 8, 16, 0.2, kind)
        routing = limited(route(logits, top_k=2), 0.6, policy, 2)
        ids = routing.topk_expert_ids_TK.where(routing.served_TK, 4)
        out = experts(x, routing, sequence_counts(ids, 1, 4)[0])
        out.square().sum().backward()
        results.append((out, x.grad, logits.grad, experts.gate_up_EDF2.grad))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-6)


def test_a_token_without_any_served_expert_gets_nothing_from_the_layer() -> None:
    logits = torch.tensor([[2.0, -2.0], [1.0, -2.0], [0.5, -2.0]])
    routing = limited(route(logits, top_k=1), 0.5, "position", 1)
    assert served(routing) == [[True], [False], [False]]
    experts = Experts(2, 8, 16, 0.2, "loop")
    out = experts(torch.ones(3, 8), routing, torch.tensor([1, 0])).detach()
    assert float(out[0].abs().sum()) > 0
    assert float(out[1:].abs().sum()) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_the_bias_sees_demand_and_not_what_is_left_of_it(policy: str) -> None:
    """Megatron's trap: counted after the cut, all experts at capacity would look the same."""
    config = make_tiny_config("loss_free", capacity_factor=0.5, drop_policy=policy)
    model = build_model(config.model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (4, 16), generator=generator(5))
    output = model(tokens, CombinedBalancer([LossFree()]), ForwardContext(is_training=True))
    for layer in output.layers:
        demand, most = layer.counts_BE.sum(0), capacity(0.5, 64, 2, 4)
        assert int(demand.sum()) == 64 * 2
        assert layer.dropped_BE is not None
        assert (demand - layer.dropped_BE.sum(0)).tolist() == demand.clamp_max(most).tolist()
        assert len(set(demand.tolist())) > 1
        assert int(layer.dropped_BE.min()) >= 0


def test_by_probability_a_later_token_can_take_a_place_and_by_position_it_cannot() -> None:
    """Why the docstring says that dropping by probability is not causal."""
    early, late = torch.tensor([[0.2, -3.0]]), torch.tensor([[2.0, -3.0]])
    for policy, causal in (("probability", False), ("position", True)):
        routing = limited(route(torch.cat([early, late]), top_k=1), 1.0, policy, 1)
        assert served(routing)[0] == [causal]


@given(choice=choices(top_p=False, groups=False, max_tokens=12), seed=st.integers(0, 99))
def test_random_second_equals_the_reference(choice: Choice, seed: int) -> None:
    assume(choice.num_experts >= 2)
    demand = choice.route(choice.bias_E, top_k=2)
    fast = random_second(demand, generator(seed))
    draws = torch.rand(len(choice.logits_TE), generator=generator(seed))
    both = demand.gate_weights_TK
    assume(float((draws - 2 * both[:, 1] / both.sum(1)).abs().min()) > 1e-5)
    taken = token_choice.second_is_taken(both.tolist(), draws.tolist())
    assert [len(row) == 2 for row in lists(fast)] == taken
    # First and taken second keep their gates, normalised over the two as before.
    kept = torch.stack([torch.ones(len(taken), dtype=torch.bool), torch.tensor(taken)], 1)
    assert torch.equal(fast.gate_weights_TK, both * kept)
    assert torch.equal(fast.topk_expert_ids_TK, demand.topk_expert_ids_TK.where(kept, choice.num_experts))


def test_random_second_is_taken_with_twice_its_gate() -> None:
    # Normalised gates 0.8 and 0.2: the second with probability 0.4. A bias may turn them round: always.
    scores = torch.tensor([[0.8, 0.2, 0.01]]).repeat(20_000, 1)
    share = (random_second(route(scores.logit(), top_k=2), generator()).served_TK[:, 1]).float().mean()
    assert float(share) == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 20_000))
    turned = route(scores.logit(), top_k=2, expert_bias_E=torch.tensor([0.0, 0.9, 0.0]))
    assert bool(random_second(turned, generator()).served_TK.all())


def test_random_second_then_capacity_serves_no_empty_slot() -> None:
    demand = random_second(route(torch.randn(40, 4, generator=generator(7)), top_k=2), generator(8))
    fast = limited(demand, 0.7, "position", 2)
    assert not bool((fast.served_TK & ~demand.served_TK).any())
    counts = sequence_counts(fast.topk_expert_ids_TK.where(fast.served_TK, 4), 1, 4)[0]
    assert int(counts.max()) <= capacity(0.7, 40, 2, 4)
