"""transformers' load_balancing_loss_func and ours: what converts, and what cannot.

Theirs does not divide by K and adds up all layers before it multiplies: for one layer ours = theirs / K. For
several layers there is no conversion, which P21 is about.
"""

from typing import Any

import pytest
import torch
from peer_code import need
from routes import route
from strategies import MARGIN, smallest_gap
from torch import Tensor

from explorer.config.rule_text import AuxLoss
from explorer.model.balancers import CombinedBalancer, LayerBatch, balance_loss
from explorer.model.router import sequence_counts

(mixtral,) = need("transformers.models.mixtral.modeling_mixtral")


def theirs(*arguments: Any, **options: Any) -> Tensor:
    loss: Tensor = mixtral.load_balancing_loss_func(*arguments, **options)
    return loss


def logits_of(seed: int, num_tokens: int = 24, num_experts: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_tokens, num_experts, generator=generator)
    assert smallest_gap(logits.softmax(-1).tolist()) > MARGIN
    return logits.requires_grad_()


def ours(logits_TE: Tensor, top_k: int, scope: str = "micro_batch") -> Tensor:
    """The unscaled auxiliary loss of one layer, tokens as one sequence."""
    routing = route(logits_TE, top_k=top_k, score_func="softmax")
    counts = sequence_counts(routing.topk_expert_ids_TK, 1, logits_TE.shape[1])
    return balance_loss(routing.scores_TE, counts, scope=scope)


@pytest.mark.parametrize("top_k", [1, 2, 4, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_p20_ours_is_theirs_over_k_for_one_layer_and_so_is_the_gradient(top_k: int, seed: int) -> None:
    mine, other = logits_of(seed), logits_of(seed)
    loss = ours(mine, top_k)
    converted = theirs((other,), num_experts=6, top_k=top_k) / top_k
    torch.testing.assert_close(loss, converted)
    loss.backward()
    converted.backward()
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-8)
    assert top_k == 6 or mine.grad.abs().max() > 1e-4


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_p20_at_balance_theirs_is_k_and_ours_is_one(top_k: int) -> None:
    # Token t prefers experts t, t + 1, ... in a circle: every expert is first, second, ... equally often.
    circle = torch.stack([torch.linspace(2, -2, 6).roll(t) for t in range(6)])
    assert theirs((circle,), num_experts=6, top_k=top_k).item() == pytest.approx(top_k)
    assert ours(circle, top_k).item() == pytest.approx(1.0)


def test_p21_two_collapsed_layers_score_as_perfect_when_pooled() -> None:
    # Every token of a layer goes to one expert of two with certainty, to another one in the next layer.
    layers = []
    for favourite in (0, 1):
        logits = torch.full((8, 2), -30.0)
        logits[:, favourite] = 30.0
        layers.append(logits)
    alone = [theirs((logits,), num_experts=2, top_k=1).item() for logits in layers]
    pooled = theirs(tuple(layers), num_experts=2, top_k=1).item()
    assert alone == pytest.approx([2.0, 2.0])
    assert pooled == pytest.approx(1.0)
    # Ours adds layer by layer what each says alone.
    balancer = CombinedBalancer([AuxLoss(coeff=1.0)])
    seen = []
    for logits in layers:
        routing = route(logits, top_k=1, score_func="softmax")
        counts = sequence_counts(routing.topk_expert_ids_TK, 1, 2)
        seen.append(balancer.losses(LayerBatch(routing, counts)).aux.item())
    assert seen == pytest.approx(alone)


def test_p21_pooling_layers_hides_their_gradients_too() -> None:
    # Two half-collapsed layers: alone each is pushed level; pooled, f is level and nothing is pushed.
    logits = torch.tensor([[1.0, -1.0]] * 8)
    first, second = logits.clone().requires_grad_(), (-logits).clone().requires_grad_()
    theirs((first, second), num_experts=2, top_k=1).backward()
    assert first.grad.abs().max() < 1e-7
    alone = logits.clone().requires_grad_()
    ours(alone, 1).backward()
    assert alone.grad.abs().max() > 1e-3


def test_p18_their_mask_equals_ours_on_the_tokens_that_are_left() -> None:
    # Padding: theirs takes a mask, ours is given full sequences. Masked and trimmed agree.
    logits = logits_of(3)
    mask = torch.ones(1, 24, dtype=torch.int64)
    mask[0, 17:] = 0
    masked = theirs((logits,), num_experts=6, top_k=2, attention_mask=mask)
    assert masked.item() / 2 == pytest.approx(ours(logits[:17], 2).item(), rel=1e-5)
    assert masked.item() / 2 != pytest.approx(ours(logits, 2).item(), rel=1e-3)


def test_p24_their_loss_is_off_unless_logits_are_asked_for() -> None:
    # The coefficient is in the configuration, and without router logits nothing reads it.
    assert theirs(None, num_experts=6, top_k=2) == 0
    config = mixtral.MixtralConfig()
    assert config.router_aux_loss_coef > 0
    assert config.output_router_logits is False
    # Ours has no such switch: a rule that is named adds its gradient.
    logits = logits_of(4)
    routing = route(logits, top_k=2, score_func="softmax")
    counts = sequence_counts(routing.topk_expert_ids_TK, 1, 6)
    CombinedBalancer([AuxLoss()]).losses(LayerBatch(routing, counts)).objective.backward()
    assert logits.grad.abs().max() > 0
