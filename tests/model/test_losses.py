"""Balancing losses and their gradients against the slow reference (P20 to P26)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import losses, routing
from routes import route
from strategies import Case, cases
from torch import Tensor

from explorer.config.rule_text import AuxLoss, LossFree, SequenceAuxLoss, ZLoss
from explorer.model.balancers import (
    AuxLossBalancing,
    CombinedBalancer,
    LayerBatch,
    SequenceLossBalancing,
    balance_loss,
    router_z_loss,
)
from explorer.model.router import Routing, sequence_counts

SCOPES = ("sequence", "micro_batch", "global_batch")


def layer_batch(case: Case, bias=None, step_counts_E: Tensor | None = None) -> tuple[Tensor, LayerBatch]:
    """The fast routing of a case as one micro-batch, and its logits with gradient."""
    logits = torch.from_numpy(case.logits_TE).requires_grad_()
    routing_ = route(
        logits,
        top_k=case.top_k,
        score_func=case.score_func,
        expert_bias_E=None if bias is None else torch.as_tensor(bias),
        bias_form=case.bias_form,
    )
    counts = sequence_counts(routing_.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    return logits, LayerBatch(routing_, counts, step_counts_E)


def slow_groups(case: Case, scope: str, num_micro_batches: int = 1) -> list[list[int]]:
    sequences = case.num_sequences // num_micro_batches
    return losses.groups(num_micro_batches, sequences, case.sequence_length, scope)


def loss_rule(scope: str, score_norm: str) -> AuxLossBalancing:
    return AuxLossBalancing(AuxLoss(scope=scope, score_norm=score_norm))


@pytest.mark.parametrize("scope", SCOPES)
@given(case=cases(), score_norm=st.sampled_from(["l1", "raw"]), with_bias=st.booleans())
def test_aux_loss_and_gradient_equal_the_reference(
    scope: str, case: Case, score_norm: str, with_bias: bool
) -> None:
    bias = case.bias_E if with_bias else None
    logits, batch = layer_batch(case, bias)
    loss = loss_rule(scope, score_norm).loss(batch)
    scores = case.scores_TE
    expert_ids = routing.select(scores, bias, case.top_k, case.bias_form)
    groups = slow_groups(case, scope)
    assert loss.item() == pytest.approx(losses.aux_loss(scores, expert_ids, groups, score_norm), rel=1e-4)
    # d/d(logit): the hand-derived gradient with f held fixed (P22).
    by_score = losses.aux_loss_gradient(scores, expert_ids, groups, score_norm)
    slow = losses.score_gradient_to_logits(by_score, scores, case.score_func)
    (fast,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(fast.numpy(), slow, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("score_norm", ["l1", "raw"])
@given(case=cases(), seed=st.integers(0, 99))
def test_global_scope_over_micro_batches_is_the_loss_of_the_whole_step(
    score_norm: str, case: Case, seed: int
) -> None:
    # Another micro-batch of the same sizes; each takes f from both, and the step averages them.
    rng = np.random.default_rng(seed)
    other = rng.standard_normal(case.logits_TE.shape).astype(np.float32)
    scores = case.scores_TE + routing.scores(other, case.score_func)
    parts = [torch.from_numpy(case.logits_TE), torch.from_numpy(other)]
    routings = [route(p, top_k=case.top_k, score_func=case.score_func) for p in parts]
    counts = [sequence_counts(r.topk_expert_ids_TK, case.num_sequences, case.num_experts) for r in routings]
    step_counts = counts[0].sum(0) + counts[1].sum(0)
    rule = loss_rule("global_batch", score_norm)
    fast = [rule.loss(LayerBatch(r, c, step_counts)) for r, c in zip(routings, counts, strict=True)]
    expert_ids = [ids for r in routings for ids in r.topk_expert_ids_TK.tolist()]
    slow = losses.aux_loss(scores, expert_ids, [list(range(len(scores)))], score_norm)
    assert float(sum(fast)) / 2 == pytest.approx(slow, rel=1e-4)


@given(case=cases(), score_norm=st.sampled_from(["l1", "raw"]))
def test_micro_batch_and_sequence_scope_ignore_the_rest_of_the_step(case: Case, score_norm: str) -> None:
    far_away = torch.arange(case.num_experts) * 1000
    for scope in ("sequence", "micro_batch"):
        rule = loss_rule(scope, score_norm)
        alone, with_step_counts = layer_batch(case)[1], layer_batch(case, step_counts_E=far_away)[1]
        assert rule.loss(alone).item() == rule.loss(with_step_counts).item()


def test_scopes_differ_when_each_sequence_has_its_own_favourites() -> None:
    # Two sequences, each all on its own expert: level over the batch, collapsed within each.
    logits = torch.tensor([[4.0, -4.0], [4.0, -4.0], [-4.0, 4.0], [-4.0, 4.0]])
    fast = route(logits, top_k=1)
    counts = sequence_counts(fast.topk_expert_ids_TK, 2, 2)
    by_sequence = balance_loss(fast.scores_TE, counts, scope="sequence").item()
    by_batch = balance_loss(fast.scores_TE, counts, scope="micro_batch").item()
    assert by_batch == pytest.approx(1.0)
    assert by_sequence == pytest.approx(2 * 0.98201, rel=1e-3)


@given(case=cases(), uniform=st.sampled_from(["f", "P"]))
@pytest.mark.parametrize("scope", SCOPES)
def test_p20_the_loss_is_one_at_balance_for_any_k(scope: str, case: Case, uniform: str) -> None:
    _, batch = layer_batch(case)
    counts, scores = batch.counts_BE, batch.routing.scores_TE.detach()
    if uniform == "f":
        counts = torch.full_like(counts, 7)
    else:
        scores = torch.full_like(scores, 0.3)
    assert balance_loss(scores, counts, scope=scope).item() == pytest.approx(1.0, rel=1e-5)


def test_p20_raw_sigmoid_scores_are_not_normalised_and_can_be_shrunk() -> None:
    counts = torch.full((1, 8), 2)
    half, tenth = torch.full((8, 8), 0.5), torch.full((8, 8), 0.1)
    assert balance_loss(half, counts, scope="micro_batch", score_norm="raw").item() == pytest.approx(4.0)
    assert balance_loss(tenth, counts, scope="micro_batch", score_norm="raw").item() == pytest.approx(0.8)


def test_p21_layers_are_not_pooled() -> None:
    # Two layers, collapsed on different experts: each has loss N/K·p, pooled they would look level.
    balancer = CombinedBalancer([AuxLoss(coeff=1.0)])
    seen = []
    for favourite in (0, 1):
        logits = torch.full((6, 2), -3.0)
        logits[:, favourite] = 3.0
        fast = route(logits, top_k=1)
        counts = sequence_counts(fast.topk_expert_ids_TK, 1, 2)
        seen.append(balancer.losses(LayerBatch(fast, counts)).aux.item())
    assert seen == pytest.approx([2 * 0.95257] * 2, rel=1e-3)


@given(case=cases())
def test_p22_the_gradient_flows_through_p_only_and_over_all_experts(case: Case) -> None:
    logits, batch = layer_batch(case)
    assert not batch.counts_BE.requires_grad
    # Cutting the scores off leaves nothing that could carry a gradient.
    detached = Routing(
        batch.routing.router_logits_TE,
        batch.routing.scores_TE.detach(),
        batch.routing.topk_expert_ids_TK,
        batch.routing.gate_weights_TK,
    )
    for scope in SCOPES:
        assert not loss_rule(scope, "l1").loss(LayerBatch(detached, batch.counts_BE)).requires_grad
    # Experts that nobody chose get a gradient too: P is taken before any top-K mask.
    loss = loss_rule("micro_batch", "raw").loss(batch)
    (gradient,) = torch.autograd.grad(loss, batch.routing.scores_TE, retain_graph=True)
    f = losses.load_ratios(batch.routing.topk_expert_ids_TK.tolist(), case.num_experts)
    assert gradient.tolist() == [pytest.approx([x / len(logits) for x in f], rel=1e-4)] * len(logits)


@given(case=cases())
def test_p22_the_loss_pushes_overloaded_experts_down(case: Case) -> None:
    # A small step against the gradient must not raise f · P while f is held.
    logits, batch = layer_batch(case)
    loss = loss_rule("micro_batch", "l1").loss(batch)
    (gradient,) = torch.autograd.grad(loss, logits)
    moved = (logits - 1e-2 * gradient).detach()
    scores = moved.sigmoid() if case.score_func == "sigmoid" else moved.softmax(-1)
    after = balance_loss(scores, batch.counts_BE, scope="micro_batch").item()
    assert after <= loss.item() + 1e-6


def v3_case() -> tuple[Tensor, Tensor]:
    """Logits that favour expert 0, and a bias that sends every token to expert 2 instead."""
    logits = torch.tensor([[2.0, 0.5, -0.5], [1.5, 0.2, -1.0]], requires_grad=True)
    return logits, torch.tensor([-0.9, 0.0, 0.9])


@given(case=cases())
def test_v3_sequence_loss_and_gradient_equal_the_reference(case: Case) -> None:
    logits, batch = layer_batch(case, case.bias_E)
    loss = SequenceLossBalancing(SequenceAuxLoss()).loss(batch)
    scores, groups = case.scores_TE, slow_groups(case, "sequence")
    assert loss.item() == pytest.approx(losses.v3_sequence_loss(scores, case.top_k, groups), rel=1e-4)
    unbiased = routing.select(scores, None, case.top_k)
    by_score = losses.aux_loss_gradient(scores, unbiased, groups, "l1")
    slow = losses.score_gradient_to_logits(by_score, scores, case.score_func)
    (fast,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(fast.numpy(), slow, rtol=2e-3, atol=2e-6)


def test_p23_v3_counts_the_unbiased_selection_and_aux_loss_the_used_one() -> None:
    logits, bias = v3_case()
    fast = route(logits, top_k=1, expert_bias_E=bias)
    batch = LayerBatch(fast, sequence_counts(fast.topk_expert_ids_TK, 1, 3))
    assert batch.counts_BE.tolist() == [[0, 0, 2]]
    scores = routing.scores(logits.tolist(), "sigmoid")
    group = [[0, 1]]
    v3 = SequenceLossBalancing(SequenceAuxLoss()).loss(batch).item()
    aux = loss_rule("sequence", "l1").loss(batch).item()
    assert v3 == pytest.approx(losses.aux_loss(scores, [[0], [0]], group), rel=1e-5)
    assert aux == pytest.approx(losses.aux_loss(scores, [[2], [2]], group), rel=1e-5)
    assert v3 > 1 > aux


@pytest.mark.parametrize("rule", [AuxLoss, SequenceAuxLoss, ZLoss])
def test_p24_the_coefficient_changes_the_gradient_in_proportion(rule) -> None:
    logits, _ = v3_case()
    fast = route(logits, top_k=1)
    batch = LayerBatch(fast, sequence_counts(fast.topk_expert_ids_TK, 1, 3))
    gradients = []
    for coeff in (0.5, 1.5):
        objective = CombinedBalancer([rule(coeff=coeff)]).losses(batch).objective
        gradients.append(torch.autograd.grad(objective, logits, retain_graph=True)[0])
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[1], 3 * gradients[0])


@given(case=cases())
def test_p26_f_is_counts_not_probabilities(case: Case) -> None:
    # Scaling the distance of the logits moves P and leaves every choice, hence f, as it was.
    _, batch = layer_batch(case)
    f = losses.load_ratios(batch.routing.topk_expert_ids_TK.tolist(), case.num_experts)
    flat = torch.rand(batch.routing.scores_TE.shape, generator=torch.Generator().manual_seed(0)) + 0.1
    loss = balance_loss(flat, batch.counts_BE, scope="micro_batch").item()
    p = losses.mean_scores(flat.tolist(), "l1")
    assert loss == pytest.approx(sum(a * b for a, b in zip(f, p, strict=True)), rel=1e-4)


@given(case=cases())
def test_z_loss_and_gradient_equal_the_reference(case: Case) -> None:
    logits = torch.from_numpy(case.logits_TE).requires_grad_()
    loss = router_z_loss(logits)
    assert loss.item() == pytest.approx(losses.z_loss(case.logits_TE), rel=1e-4, abs=1e-7)
    (fast,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(fast.numpy(), losses.z_loss_gradient(case.logits_TE), rtol=2e-3, atol=2e-6)


@given(case=cases())
def test_combined_rules_add_up_and_keep_z_apart(case: Case) -> None:
    _, batch = layer_batch(case, case.bias_E)
    aux, seq, z = AuxLoss(coeff=0.5), SequenceAuxLoss(coeff=0.25), ZLoss(coeff=0.125)
    both = CombinedBalancer([LossFree(bias_form=case.bias_form), aux, seq, z]).losses(batch)
    alone = [CombinedBalancer([rule]).losses(batch) for rule in (aux, seq, z)]
    assert both.objective.item() == pytest.approx(sum(x.objective.item() for x in alone), rel=1e-5)
    assert both.aux.item() == pytest.approx(alone[0].aux.item() + alone[1].aux.item(), rel=1e-5)
    assert both.z.item() == alone[2].z.item()
    # What is logged is unscaled: the coefficient is not in it.
    assert alone[0].objective.item() == pytest.approx(0.5 * alone[0].aux.item(), rel=1e-5)
    assert not both.aux.requires_grad
    assert not both.z.requires_grad
    none = CombinedBalancer([]).losses(batch)
    assert (none.objective, none.aux, none.z) == (None, None, None)
