"""Pitfalls of choosing and updating: what popular tools do, beside what ours does in the same case."""

import numpy as np
import pytest
import torch
from routes import route
from runs_in_memory import train_tiny

from explorer import metrics
from explorer.config.rule_text import LossFree
from explorer.model.balancers import CombinedBalancer, LossFreeBalancing, balance_loss
from explorer.model.router import Router, sequence_counts


def test_p12_rank_local_imbalance_of_3_9_is_global_imbalance_of_1() -> None:
    # OLMo-core: max/mean of each rank's own counts, then the largest over ranks. Every rank here is nearly
    # collapsed on an expert of its own, and together they are exactly level.
    by_rank = np.array([np.roll([117, 1, 1, 1], rank) for rank in range(4)])
    assert metrics.max_over_mean(by_rank).max() == pytest.approx(3.9)
    together = by_rank.sum(0)
    assert float(metrics.max_over_mean(together)) == 1.0
    bias = torch.zeros(4)
    LossFreeBalancing(LossFree(bias_update_rate=0.1)).update(bias, torch.from_numpy(together), 0)
    assert bias.tolist() == [0.0] * 4


@pytest.mark.parametrize(("dtype", "stalls_at"), [(torch.bfloat16, 256), (torch.float16, 2048)])
def test_p13_a_counter_of_a_narrow_type_stops_counting(dtype: torch.dtype, stalls_at: int) -> None:
    counter = torch.zeros((), dtype=dtype)
    for _ in range(stalls_at + 50):
        counter += 1
    assert counter.item() == stalls_at
    ids = torch.zeros(stalls_at + 50, 1, dtype=torch.int64)
    assert sequence_counts(ids, 1, 2).tolist() == [[stalls_at + 50, 0]]


def test_p13_reducing_in_bf16_depends_on_the_order_of_the_ranks() -> None:
    # Eight ranks, one sum, and two answers (the two that NVIDIA/Megatron-LM#7081 reports for it).
    by_rank = [6038, 4449, 1129, 3388, 4438, 8809, 5113, 7476]

    def reduced(parts: list[int]) -> float:
        total = torch.zeros((), dtype=torch.bfloat16)
        for part in parts:
            total += torch.tensor(part, dtype=torch.bfloat16)
        return total.item()

    assert (reduced(by_rank), reduced(by_rank[::-1])) == (40_704, 41_216)
    counts = torch.tensor(by_rank)
    assert counts.sum() == counts.flip(0).sum() == 40_840
    # Against a mean of 40,900 the busier order would push the expert down; the exact count pulls it up.
    rest = 2 * 40_900 - 40_840
    bias = torch.zeros(2)
    LossFreeBalancing(LossFree(bias_update_rate=1.0)).update(bias, torch.tensor([40_840, rest]), 0)
    assert bias.tolist() == [1.0, -1.0]
    assert 41_216 > 40_900 > 40_704


def test_p14_a_bias_in_bf16_keeps_nine_values_of_a_narrow_span() -> None:
    # The biases of GLM-5.2 lie between 6.817 and 7.063; bf16 has nine values there, of which eight were left
    # and 98.5 % of the tokens picked another set. Drawn evenly, nine are left and nine tokens of ten do.
    num_experts, top_k = 256, 8
    bias = torch.linspace(6.817, 7.063, num_experts)
    bias = bias[torch.randperm(num_experts, generator=torch.Generator().manual_seed(0))]
    assert len(bias.bfloat16().unique()) == 9
    logits = 0.1 * torch.randn(1000, num_experts, generator=torch.Generator().manual_seed(1))

    def top_experts(values: torch.Tensor) -> torch.Tensor:
        return route(logits, top_k=top_k, expert_bias_E=values).topk_expert_ids_TK.sort(-1).values

    def changed(values: torch.Tensor) -> float:
        return (top_experts(values) != top_experts(bias)).any(-1).float().mean().item()

    assert changed(bias.bfloat16().float()) > 0.85
    # Ours, after everything that casts a model.
    router = Router(4, num_experts, 0.02)
    router.expert_bias_E.copy_(bias)
    for cast in (torch.bfloat16, torch.float16, torch.float64):
        router.to(cast)
    assert changed(router.expert_bias_E) == 0.0


def test_p19_passing_tokens_through_a_model_moves_no_bias() -> None:
    # A teacher, a replay or a look: only a training step asks the balancer to update.
    run = train_tiny("loss_free:u=0.05", num_steps=3)
    before = [router.expert_bias_E.clone() for router in run.model.routers]
    assert any(bias.abs().max() > 0 for bias in before)
    tokens = torch.zeros(2, 16, dtype=torch.int64)
    for training in (True, False):
        run.model.train(training)
        output = run.model(tokens, CombinedBalancer(run.config.balancer.rules))
        output.logits_BSV.sum().backward()
    for router, bias in zip(run.model.routers, before, strict=True):
        assert torch.equal(router.expert_bias_E, bias)


def test_p26_mean_scores_used_twice_are_another_loss() -> None:
    # lossfreebalance multiplies mean scores by themselves. All tokens go to expert 0 by a hair: its loss sees
    # level scores and a gradient of nearly nothing, the Switch loss sees the collapse.
    logits = torch.tensor([[0.02, 0.0]]).repeat(10, 1).requires_grad_()
    routing = route(logits, top_k=1, score_func="softmax")
    counts = sequence_counts(routing.topk_expert_ids_TK, 1, 2)
    assert counts.tolist() == [[10, 0]]
    ours = balance_loss(routing.scores_TE, counts, scope="micro_batch")
    (gradient,) = torch.autograd.grad(ours, logits, retain_graph=True)
    mean_E = routing.scores_TE.mean(0)
    theirs = 2 * (mean_E * mean_E).sum()
    (weak,) = torch.autograd.grad(theirs, logits)
    assert theirs.item() == pytest.approx(1.0, abs=1e-3)
    assert weak.abs().max() < gradient.abs().max() / 40
