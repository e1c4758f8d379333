"""Switch, GShard, the buffered scope and SimBal against the slow reference; gradients by differences."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import loss_family, losses, routing
from routes import route
from sentences import pattern, sentence
from strategies import MARGIN, Case, cases, smallest_gap
from torch import Tensor

from explorer.config.rule_text import AuxLoss, GShardLoss, Rule, SimBal, SwitchLoss, parse_rules
from explorer.config.run import BalancerConfig, ModelConfig, RunConfig
from explorer.errors import ConfigError
from explorer.model.balancer import LayerBatch
from explorer.model.balancers import CombinedBalancer, make_balancer
from explorer.model.loss_balancers import balance_loss, orthonormality_loss
from explorer.model.router import sequence_counts

FIRST_CHOICE = [
    SwitchLoss(),
    GShardLoss(),
    GShardLoss(scope="micro_batch"),
    GShardLoss(normalisation="paper"),
    GShardLoss(scope="micro_batch", normalisation="paper"),
]


def layer_batch(case: Case, bias=None) -> tuple[Tensor, LayerBatch]:
    """The routing of a case as one micro-batch, and its logits with gradient."""
    logits = torch.from_numpy(case.logits_TE).requires_grad_()
    routed = route(
        logits,
        top_k=case.top_k,
        score_func=case.score_func,
        expert_bias_E=None if bias is None else torch.as_tensor(bias),
        bias_form=case.bias_form,
    )
    counts = sequence_counts(routed.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    return logits, LayerBatch(routed, counts)


def groups(case: Case, rule: Rule) -> list[list[int]]:
    scope = getattr(rule, "scope", "micro_batch")
    return losses.groups(1, case.num_sequences, case.sequence_length, scope)


def slow_first_choice(case: Case, rule: Rule):
    """The reference loss of a table of logits, with f held at that of the case."""
    p = loss_family.probabilities(case.logits_TE, case.score_func)
    parts = groups(case, rule)
    fractions = [loss_family.first_choice_fractions([p[t] for t in group]) for group in parts]
    if isinstance(rule, SwitchLoss):
        return lambda logits: loss_family.switch(logits, case.score_func, fractions[0])
    return lambda logits: loss_family.gshard(
        logits, parts, case.score_func, rule.normalisation, fractions_GE=fractions
    )


@pytest.mark.parametrize("rule", FIRST_CHOICE, ids=str)
@given(case=cases(max_tokens=4), with_bias=st.booleans())
def test_first_choice_losses_and_gradients_equal_the_reference(
    rule: Rule, case: Case, with_bias: bool
) -> None:
    logits, batch = layer_batch(case, case.bias_E if with_bias else None)
    loss = make_balancer(rule).loss(batch)
    slow = slow_first_choice(case, rule)
    assert loss is not None
    assert loss.item() == pytest.approx(slow(case.logits_TE), rel=1e-4)
    (fast,) = torch.autograd.grad(loss, logits)
    expected = loss_family.finite_differences(slow, case.logits_TE)
    np.testing.assert_allclose(fast.numpy(), expected, rtol=2e-3, atol=3e-6)


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_p20_values_at_balance_and_at_collapse(experts: int) -> None:
    """One token a favourite: level. All on expert 0: collapsed. The paper's GShard is 1/N² and 1/N."""
    level = 40.0 * torch.eye(experts)
    collapsed = torch.full((experts, experts), -20.0)
    collapsed[:, 0] = 20.0
    for logits, unit in ((level, 1.0), (collapsed, float(experts))):
        routed = route(logits, top_k=1, score_func="softmax")
        batch = LayerBatch(routed, sequence_counts(routed.topk_expert_ids_TK, 1, experts))
        for rule, expected in (
            (SwitchLoss(), unit),
            (GShardLoss(), unit),
            (GShardLoss(normalisation="paper"), unit / experts**2),
            (AuxLoss(), unit),
        ):
            assert make_balancer(rule).loss(batch).item() == pytest.approx(expected, rel=1e-5)


@given(case=cases())
def test_p20_with_one_expert_a_token_and_no_bias_switch_is_the_general_loss(case: Case) -> None:
    logits = torch.from_numpy(case.logits_TE)
    routed = route(logits, top_k=1, score_func=case.score_func)
    batch = LayerBatch(
        routed, sequence_counts(routed.topk_expert_ids_TK, case.num_sequences, case.num_experts)
    )
    general = {s: make_balancer(AuxLoss(scope=s)).loss(batch).item() for s in ("micro_batch", "sequence")}
    assert make_balancer(SwitchLoss()).loss(batch).item() == general["micro_batch"]
    assert make_balancer(GShardLoss()).loss(batch).item() == general["sequence"]


def test_p20_first_choice_losses_do_not_see_where_second_choices_go() -> None:
    # Each token's first choice is another expert; every second choice is expert 3.
    logits = torch.tensor([[4.0, 0, 0, 2], [0, 4, 0, 2], [0, 0, 4, 2], [0, 0, 2, 4]])
    routed = route(logits, top_k=2, score_func="softmax")
    counts = sequence_counts(routed.topk_expert_ids_TK, 1, 4)
    assert counts.tolist() == [[1, 1, 2, 4]]
    batch = LayerBatch(routed, counts)
    first, general = (make_balancer(r).loss(batch).item() for r in (SwitchLoss(), AuxLoss()))
    assert first == pytest.approx(1.0)
    assert general > 1.05


def test_p23_first_choices_are_those_of_the_unbiased_scores() -> None:
    logits = torch.tensor([[2.0, 0.5, -0.5], [1.5, 0.2, -1.0]])
    bias = torch.tensor([-0.9, 0.0, 0.9])
    routed = route(logits, top_k=1, expert_bias_E=bias)
    batch = LayerBatch(routed, sequence_counts(routed.topk_expert_ids_TK, 1, 3))
    assert batch.counts_BE.tolist() == [[0, 0, 2]]
    for rule in FIRST_CHOICE:
        without = route(logits, top_k=1)
        plain = LayerBatch(without, sequence_counts(without.topk_expert_ids_TK, 1, 3))
        assert make_balancer(rule).loss(batch).item() == make_balancer(rule).loss(plain).item()


@pytest.mark.parametrize("rule", [*FIRST_CHOICE, AuxLoss(scope="global_buffered")], ids=str)
@given(case=cases())
def test_p22_f_carries_no_gradient(rule: Rule, case: Case) -> None:
    logits, batch = layer_batch(case)
    scores = batch.routing.scores_TE.detach()
    cut = LayerBatch(
        type(batch.routing)(logits, scores, batch.routing.topk_expert_ids_TK, batch.routing.gate_weights_TK),
        batch.counts_BE,
    )
    assert not make_balancer(rule).loss(cut).requires_grad


@pytest.mark.parametrize("kind", [SwitchLoss, GShardLoss, SimBal])
def test_p24_the_coefficient_changes_the_gradient_in_proportion(kind) -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 5, requires_grad=True)
    routed = route(torch.randn(4, 5) @ weight.T, top_k=1)
    batch = LayerBatch(routed, sequence_counts(routed.topk_expert_ids_TK, 2, 3), router_weight_ED=weight)
    gradients = []
    for coeff in (0.5, 1.5):
        objective = CombinedBalancer([kind(coeff=coeff)]).losses(batch).objective
        assert objective is not None
        gradients.append(torch.autograd.grad(objective, weight, retain_graph=True)[0])
    assert gradients[0].abs().max() > 1e-4
    torch.testing.assert_close(gradients[1], 3 * gradients[0])


# The accumulation buffer.


@given(case=cases(max_tokens=3), seed=st.integers(0, 99), num_parts=st.integers(1, 4))
def test_buffered_loss_and_gradient_equal_the_reference(case: Case, seed: int, num_parts: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (num_parts, *case.logits_TE.shape)
    tables = rng.standard_normal(shape).astype(np.float32)
    assume(smallest_gap([row for t in tables for row in routing.scores(t, case.score_func)]) > MARGIN)
    parts = [torch.from_numpy(t).requires_grad_() for t in tables]
    rule = make_balancer(AuxLoss(scope="global_buffered"))
    earlier, total, seen = None, torch.zeros(()), []
    for part in parts:
        routed = route(part, top_k=case.top_k, score_func=case.score_func)
        counts = sequence_counts(routed.topk_expert_ids_TK, case.num_sequences, case.num_experts)
        total = total + rule.loss(LayerBatch(routed, counts, earlier_counts_E=earlier)) / num_parts
        earlier = counts.sum(0) if earlier is None else earlier + counts.sum(0)
        seen.append(earlier.tolist())
    scores = [routing.scores(table, case.score_func) for table in tables]
    expert_ids = [routing.select(s, None, case.top_k) for s in scores]
    assert total.item() == pytest.approx(
        loss_family.buffered(tables.tolist(), expert_ids, case.score_func), rel=1e-4
    )
    gradients = torch.autograd.grad(total, parts)
    for number, fast in enumerate(gradients):

        def moved(table, number=number):
            tried = [*tables[:number], table, *tables[number + 1 :]]
            return loss_family.buffered(tried, expert_ids, case.score_func, counts_ME=seen)

        slow = loss_family.finite_differences(moved, tables[number])
        np.testing.assert_allclose(fast.numpy(), slow, rtol=2e-3, atol=3e-6)


def test_buffered_and_global_are_one_loss_with_one_micro_batch_and_two_with_more() -> None:
    # Micro-batch 0 is all on expert 0, micro-batch 1 all on expert 1: level over the step.
    first, second = torch.tensor([[3.0, -3.0]]), torch.tensor([[-3.0, 3.0]])
    counts = [torch.tensor([[4, 0]]), torch.tensor([[0, 4]])]
    step = counts[0].sum(0) + counts[1].sum(0)
    p = [logits.sigmoid() for logits in (first, second)]
    one = balance_loss(p[0], counts[0], scope="global_batch")
    assert balance_loss(p[0], counts[0], scope="global_buffered").item() == one.item()
    whole = [
        balance_loss(s, c, scope="global_batch", step_counts_E=step) for s, c in zip(p, counts, strict=True)
    ]
    so_far = [
        balance_loss(p[0], counts[0], scope="global_buffered"),
        balance_loss(p[1], counts[1], scope="global_buffered", earlier_counts_E=counts[0].sum(0)),
    ]
    assert [x.item() for x in whole] == pytest.approx([1.0, 1.0])
    # The first sees a collapse that the step does not have; the last sees the whole step.
    assert so_far[0].item() == pytest.approx(2 * 0.95257, rel=1e-4)
    assert so_far[1].item() == pytest.approx(1.0)


def test_the_buffered_scope_needs_no_pass_that_only_counts() -> None:
    assert CombinedBalancer([AuxLoss(scope="global_batch")]).needs_step_counts
    assert not CombinedBalancer([AuxLoss(scope="global_buffered")]).needs_step_counts
    assert not CombinedBalancer(list(parse_rules("switch_loss+gshard_loss+simbal"))).needs_step_counts


# SimBal.


@given(
    num_experts=st.integers(1, 5),
    hidden=st.integers(1, 6),
    spread=st.sampled_from([0.02, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_simbal_and_its_gradient_equal_the_reference(
    num_experts: int, hidden: int, spread: float, seed: int
) -> None:
    rows = spread * np.random.default_rng(seed).standard_normal((num_experts, hidden))
    # The absolute value has a corner where an entry is exact.
    assume(np.abs(rows @ rows.T - np.eye(num_experts)).min() > 1e-4)
    weight = torch.from_numpy(rows.astype(np.float32)).requires_grad_()
    loss = orthonormality_loss(weight)
    assert loss.item() == pytest.approx(loss_family.simbal(weight.tolist()), rel=1e-4)
    (fast,) = torch.autograd.grad(loss, weight)
    slow = loss_family.finite_differences(loss_family.simbal, weight.tolist())
    np.testing.assert_allclose(fast.numpy(), slow, rtol=1e-3, atol=1e-4)


def test_simbal_compares_experts_and_not_coordinates() -> None:
    # Two orthonormal experts in four dimensions: R is [4, 2], RᵀR = I. R Rᵀ [4, 4] is not.
    weight = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    assert orthonormality_loss(weight).item() == 0
    assert (weight.T @ weight - torch.eye(4)).abs().sum().item() == 2
    doubled = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    assert orthonormality_loss(doubled).item() == 2


def test_simbal_looks_at_weights_and_at_no_token() -> None:
    weight = torch.eye(3, 5) * 1.5
    seen = []
    for seed in range(2):
        torch.manual_seed(seed)
        routed = route(torch.randn(4, 3), top_k=1)
        batch = LayerBatch(routed, sequence_counts(routed.topk_expert_ids_TK, 1, 3), router_weight_ED=weight)
        seen.append(make_balancer(SimBal()).loss(batch).item())
    assert seen == [pytest.approx(3 * 1.25)] * 2
    assert SimBal().count_scope is None


def test_simbal_is_float32_under_autocast() -> None:
    weight = torch.full((2, 3), 0.123456)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = orthonormality_loss(weight)
    assert inside.dtype == torch.float32
    assert inside.item() == orthonormality_loss(weight).item()


def test_more_experts_than_dimensions_cannot_be_orthonormal() -> None:
    model = ModelConfig(num_experts=16, hidden_size=8, num_heads=2)
    with pytest.raises(ConfigError, match=pattern("model.orthonormal", experts=16)) as caught:
        RunConfig(model=model, balancer=BalancerConfig.parse("simbal"))
    assert sentence("model.raise_hidden_size", size=16) in str(caught.value)
