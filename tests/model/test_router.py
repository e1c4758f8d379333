"""The router against the slow reference, and the pitfalls of choosing and weighing (P1 to P7, P28, P33)."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import routing
from routes import route
from strategies import MARGIN, Case, cases, smallest_gap
from tiny import make_tiny_config
from torch import nn

from explorer.config.rule_text import LossFree
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import Router, Routing, score_margin, sequence_counts, switched_slots
from explorer.training.loop import make_optimizer


def routed(case: Case, bias=None, *, bias_form: str | None = None, **options) -> Routing:
    """The fast router on a case; `bias` as numbers, or None for no bias at all."""
    return route(
        torch.from_numpy(case.logits_TE),
        top_k=options.pop("top_k", case.top_k),
        score_func=case.score_func,
        expert_bias_E=None if bias is None else torch.as_tensor(np.asarray(bias), dtype=torch.float32),
        bias_form=bias_form or case.bias_form,
        **options,
    )


def same_routing(a: Routing, b: Routing) -> bool:
    """Equal choices, scores and weights, bit for bit."""
    return (
        torch.equal(a.topk_expert_ids_TK, b.topk_expert_ids_TK)
        and torch.equal(a.scores_TE, b.scores_TE)
        and torch.equal(a.gate_weights_TK, b.gate_weights_TK)
    )


@given(case=cases(), normalize=st.booleans(), scale=st.sampled_from([1.0, 2.5]), with_bias=st.booleans())
def test_route_equals_the_reference(case: Case, normalize: bool, scale: float, with_bias: bool) -> None:
    bias = case.bias_E if with_bias else None
    fast = routed(case, bias, normalize_gates=normalize, route_scale=scale)
    scores = case.scores_TE
    expert_ids = routing.select(scores, bias, case.top_k, case.bias_form)
    np.testing.assert_allclose(fast.scores_TE.numpy(), scores, rtol=1e-5, atol=1e-7)
    assert fast.topk_expert_ids_TK.tolist() == expert_ids
    slow_weights = routing.gate_weights(scores, expert_ids, normalize, scale)
    np.testing.assert_allclose(fast.gate_weights_TK.numpy(), slow_weights, rtol=1e-4, atol=1e-7)


@given(case=cases())
def test_counts_switched_slots_and_margin_equal_the_reference(case: Case) -> None:
    fast = routed(case, case.bias_E)
    counts_BE = sequence_counts(fast.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    for index, ids_SK in enumerate(fast.topk_expert_ids_TK.chunk(case.num_sequences)):
        assert counts_BE[index].tolist() == routing.count(ids_SK.tolist(), case.num_experts)
    scores = case.scores_TE
    assert int(switched_slots(fast, case.top_k)) == routing.switched_slots(
        scores, case.bias_E, case.top_k, case.bias_form
    )
    compared = routing.biased(scores, case.bias_E, case.bias_form)
    fast_margin = float(score_margin(torch.tensor(compared), case.top_k))
    slow_margin = routing.score_margin(scores, case.bias_E, case.top_k, case.bias_form)
    if slow_margin is None:
        assert np.isnan(fast_margin)
    else:
        assert fast_margin == pytest.approx(slow_margin, rel=1e-4, abs=1e-6)


def test_a_slot_is_switched_where_the_bias_decides_among_tied_scores() -> None:
    # All scores equal, as where sigmoids saturate: the bias alone picks experts 5 and 3.
    logits_TE = torch.zeros(2, 8)
    bias_E = torch.zeros(8)
    bias_E[[3, 5]] = 0.1
    settings = {"top_k": 2, "score_func": "sigmoid"}
    without = route(logits_TE, expert_bias_E=None, **settings).topk_expert_ids_TK
    fast = route(logits_TE, expert_bias_E=bias_E, **settings)
    assert fast.topk_expert_ids_TK.sort().values.tolist() == [[3, 5]] * 2
    expected = sum(len({3, 5} - set(row)) for row in without.tolist())
    assert int(switched_slots(fast, 2)) == expected > 0


def test_p01_bias_acts_on_the_compared_score_not_on_the_logit() -> None:
    # Scores 0.9526, 0.2689. A bias of 0.6 on the score leaves the first ahead (0.953 > 0.869) ...
    logits = torch.tensor([[3.0, -1.0]])
    bias = torch.tensor([0.0, 0.6])
    assert route(logits, top_k=1, expert_bias_E=bias).topk_expert_ids_TK.tolist() == [[0]]
    # ... and one of 0.7 does not, although on the logits 3.0 > -0.3 would still win.
    bias = torch.tensor([0.0, 0.7])
    assert route(logits, top_k=1, expert_bias_E=bias).topk_expert_ids_TK.tolist() == [[1]]
    # The same with softmax scores 0.982 and 0.018.
    bias = torch.tensor([0.0, 0.97])
    assert route(logits, top_k=1, score_func="softmax", expert_bias_E=bias).topk_expert_ids_TK.tolist() == [
        [1]
    ]


def test_p01_the_bias_reaches_neither_scores_nor_logits() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    without = route(logits, top_k=2)
    with_bias = route(logits, top_k=2, expert_bias_E=torch.tensor([0.9, -0.9, 0.1, 0.0]))
    assert torch.equal(without.scores_TE, with_bias.scores_TE)
    assert torch.equal(without.router_logits_TE, with_bias.router_logits_TE)


def test_p02_bias_is_a_buffer_without_gradient_outside_every_optimizer_group() -> None:
    config = make_tiny_config("loss_free", weight_decay=0.5)
    model = build_model(config.model, 256, 16, seed=0)
    biases = {id(router.expert_bias_E) for router in model.routers}
    assert not any(isinstance(router.expert_bias_E, nn.Parameter) for router in model.routers)
    assert not any(router.expert_bias_E.requires_grad for router in model.routers)
    assert not any("bias" in name for name, _ in model.named_parameters())
    optimizer = make_optimizer(model, config)
    assert not biases & {id(p) for group in optimizer.param_groups for p in group["params"]}
    # Every parameter is in exactly one group.
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_p02_weight_decay_and_optimizer_leave_the_bias_alone() -> None:
    config = make_tiny_config("loss_free", weight_decay=0.5)
    model = build_model(config.model, 256, 16, seed=0)
    bias = torch.tensor([0.3, -0.2, 0.1, 0.0])
    for router in model.routers:
        router.expert_bias_E.copy_(bias)
    optimizer = make_optimizer(model, config)
    output = model(torch.randint(0, 256, (2, 16)), CombinedBalancer([LossFree()]))
    output.logits_BSV.square().mean().backward()
    optimizer.step()
    assert all(torch.equal(router.expert_bias_E, bias) for router in model.routers)
    assert all(router.weight_ED.grad is not None for router in model.routers)
    assert all(router.expert_bias_E.grad is None for router in model.routers)


def test_p02_bias_is_saved_with_the_model() -> None:
    config = make_tiny_config("loss_free")
    model = build_model(config.model, 256, 16, seed=0)
    model.routers[1].expert_bias_E.copy_(torch.tensor([1e-8, -0.5, 0.25, 7.000001]))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = build_model(config.model, 256, 16, seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.routers[1].expert_bias_E, model.routers[1].expert_bias_E)


@given(case=cases(), normalize=st.booleans())
def test_p03_gates_do_not_depend_on_the_bias_while_the_chosen_set_stands(case: Case, normalize: bool) -> None:
    with_bias = routed(case, case.bias_E, normalize_gates=normalize)
    # A bias that forces the same set by a wide margin.
    for token, experts in enumerate(with_bias.topk_expert_ids_TK.tolist()):
        forced = [5.0 if expert in experts else 0.0 for expert in range(case.num_experts)]
        logits = torch.from_numpy(case.logits_TE[token : token + 1])
        other = route(
            logits,
            top_k=case.top_k,
            score_func=case.score_func,
            normalize_gates=normalize,
            expert_bias_E=torch.tensor(forced),
        )
        mine = dict(zip(experts, with_bias.gate_weights_TK[token].tolist(), strict=True))
        theirs = dict(
            zip(other.topk_expert_ids_TK[0].tolist(), other.gate_weights_TK[0].tolist(), strict=True)
        )
        assert mine == pytest.approx(theirs, rel=1e-6)


@given(case=cases(), constant=st.sampled_from([-1.0, -0.125, 0.25, 4.0]))
def test_p04_a_constant_added_to_all_biases_changes_nothing(case: Case, constant: float) -> None:
    base = routed(case, case.bias_E, bias_form="additive")
    compared = routing.biased(case.scores_TE, case.bias_E, "additive")
    if smallest_gap(compared) > MARGIN:
        shifted = routed(case, case.bias_E + np.float32(constant), bias_form="additive")
        assert same_routing(base, shifted)


@given(case=cases())
def test_p05_neutral_bias_is_bit_identical_to_no_bias(case: Case) -> None:
    none = routed(case)
    assert same_routing(none, routed(case, np.zeros(case.num_experts), bias_form="additive"))
    assert same_routing(none, routed(case, np.ones(case.num_experts), bias_form="multiplicative"))


@given(case=cases())
def test_p06_every_token_has_k_distinct_experts(case: Case) -> None:
    for ids in routed(case, case.bias_E).topk_expert_ids_TK.tolist():
        assert len(set(ids)) == case.top_k
        assert set(ids) <= set(range(case.num_experts))


@given(case=cases())
def test_p06_k_equal_to_e_chooses_everybody_whatever_the_bias(case: Case) -> None:
    fast = routed(case, case.bias_E, top_k=case.num_experts)
    counts = sequence_counts(fast.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    assert counts.tolist() == [[case.sequence_length] * case.num_experts] * case.num_sequences


def test_p06_ties_send_all_tokens_to_the_same_experts() -> None:
    # A router with constant logits (all weights zero) does not balance by chance: it collapses.
    fast = route(torch.zeros(7, 4), top_k=2)
    counts = sequence_counts(fast.topk_expert_ids_TK, 1, 4)[0].tolist()
    assert sorted(counts) == [0, 0, 7, 7]


@given(case=cases())
def test_p07_a_single_expert_is_never_normalised(case: Case) -> None:
    fast = routed(case, case.bias_E, top_k=1, normalize_gates=True)
    expected = fast.scores_TE.gather(1, fast.topk_expert_ids_TK)
    assert torch.equal(fast.gate_weights_TK, expected)


@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_p07_the_language_loss_reaches_the_router(score_func: str, top_k: int) -> None:
    config = make_tiny_config(top_k=top_k, score_func=score_func, init_std=0.2)
    model = build_model(config.model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (2, 17), generator=torch.Generator().manual_seed(1))
    logits = model(tokens[:, :-1], CombinedBalancer([])).logits_BSV
    nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    norms = [float(router.weight_ED.grad.norm()) for router in model.routers]
    assert min(norms) > 1e-4


def test_p13_counts_are_int64_and_pass_256() -> None:
    ids = torch.zeros(70_000, 1, dtype=torch.int64)
    counts = sequence_counts(ids, 1, 2)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[70_000, 0]]


@pytest.mark.parametrize("cast", ["bfloat16", "float16", "double"])
def test_p14_bias_stays_float32_when_the_model_is_cast(cast: str) -> None:
    router = Router(4, 8, 0.02)
    values = torch.linspace(6.817, 7.063, 8)
    router.expert_bias_E.copy_(values)
    router = nn.Sequential(router).to(getattr(torch, cast))[0]
    assert router.expert_bias_E.dtype == torch.float32
    assert torch.equal(router.expert_bias_E, values)
    assert router.weight_ED.dtype == getattr(torch, cast)
    assert router(torch.ones(3, 4, dtype=getattr(torch, cast))).dtype == torch.float32


@given(case=cases())
def test_p28_counts_sum_to_tokens_times_k(case: Case) -> None:
    fast = routed(case, case.bias_E)
    counts_BE = sequence_counts(fast.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    assert counts_BE.sum(1).tolist() == [case.sequence_length * case.top_k] * case.num_sequences


@given(case=cases(), seed=st.integers(0, 1000))
def test_p33_permuting_tokens_leaves_counts_and_permuting_experts_permutes_all(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, experts = rng.permutation(len(case.logits_TE)), rng.permutation(case.num_experts)
    logits, bias = torch.from_numpy(case.logits_TE), torch.from_numpy(case.bias_E)
    options = {"top_k": case.top_k, "score_func": case.score_func, "bias_form": case.bias_form}
    base = route(logits, expert_bias_E=bias, **options)
    counts = sequence_counts(base.topk_expert_ids_TK, 1, case.num_experts)[0]
    shuffled = route(logits[tokens], expert_bias_E=bias, **options)
    assert torch.equal(sequence_counts(shuffled.topk_expert_ids_TK, 1, case.num_experts)[0], counts)
    renamed = route(logits[:, experts], expert_bias_E=bias[experts], **options)
    renamed_counts = sequence_counts(renamed.topk_expert_ids_TK, 1, case.num_experts)[0]
    assert torch.equal(renamed_counts, counts[experts])
    torch.testing.assert_close(renamed.gate_weights_TK, base.gate_weights_TK)
