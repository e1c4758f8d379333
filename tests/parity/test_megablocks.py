"""MegaBlocks' router, load-balancing loss and z-loss against ours; its block-sparse kernels stay out.

Its loss divides by K, tokens and layers: with weight 1 it is the mean over layers of ours.
"""

from collections.abc import Iterator

import pytest
import torch
from our_layer import D, E, by_expert, fill, inputs, make_layer
from peer_code import need
from routes import route
from torch import Tensor

from explorer.model.balancers import balance_loss, router_z_loss
from explorer.model.router import sequence_counts

layers, routers, arguments = need(
    "megablocks.layers.moe", "megablocks.layers.router", "megablocks.layers.arguments"
)


def settings(top_k: int, num_layers: int = 1, **changes):
    """Their arguments, on the CPU and in float32, with no kernel of their own named for the experts."""
    return arguments.Arguments(
        hidden_size=D,
        moe_num_experts=E,
        moe_top_k=top_k,
        num_layers=num_layers,
        moe_loss_weight=1.0,
        device=torch.device("cpu"),
        fp16=False,
        mlp_impl="absent",
        **changes,
    )


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Their losses gather in lists that are global to the module."""
    layers.clear_load_balancing_loss()
    routers.clear_router_zloss()
    yield
    layers.clear_load_balancing_loss()
    routers.clear_router_zloss()


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_router(top_k: int) -> None:
    peer = routers.LearnedRouter(settings(top_k, moe_normalize_expert_weights=1 if top_k > 1 else None))
    fill(peer)
    scores_TE, weights_TK, ids_TK = peer(inputs())
    ours = route(inputs().flatten(0, 1) @ peer.layer.weight.T, top_k=top_k, score_func="softmax")
    torch.testing.assert_close(ours.scores_TE, scores_TE)
    torch.testing.assert_close(
        by_expert(ours.topk_expert_ids_TK, ours.gate_weights_TK), by_expert(ids_TK, weights_TK)
    )


def mine(logits_LTE: list[Tensor], top_k: int) -> tuple[list[Tensor], list[Tensor]]:
    """Losses and counts, one a layer."""
    losses, counts = [], []
    for logits_TE in logits_LTE:
        routing = route(logits_TE, top_k=top_k, score_func="softmax")
        counts_BE = sequence_counts(routing.topk_expert_ids_TK, 1, E)
        losses.append(balance_loss(routing.scores_TE, counts_BE, scope="micro_batch"))
        counts.append(counts_BE[0])
    return losses, counts


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_p20_p21_balancing_loss_is_the_mean_over_layers_of_ours(num_layers: int, top_k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(20, E, generator=generator) for _ in range(num_layers)]
    left = [logits.clone().requires_grad_() for logits in given]
    right = [logits.clone().requires_grad_() for logits in given]
    losses, counts = mine(left, top_k)
    for counts_E, logits in zip(counts, right, strict=True):
        layers.save_load_balancing_loss((counts_E, logits.softmax(-1)))
    theirs = layers.batched_load_balancing_loss(settings(top_k, num_layers))
    torch.testing.assert_close(torch.stack(losses).mean(), theirs)
    torch.stack(losses).mean().backward()
    theirs.backward()
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-8)


def test_p21_two_collapsed_layers_stay_collapsed_in_theirs_too() -> None:
    # They concatenate layers along the experts, so each keeps its own product.
    losses = []
    for favourite in (0, 1):
        logits = torch.full((8, E), -30.0)
        logits[:, favourite] = 30.0
        (loss,), (counts_E,) = mine([logits], 1)
        losses.append(loss.item())
        layers.save_load_balancing_loss((counts_E, logits.softmax(-1)))
    assert losses == pytest.approx([E, E])
    assert layers.batched_load_balancing_loss(settings(1, 2)).item() == pytest.approx(E)


def test_z_loss() -> None:
    peer = routers.LearnedRouter(settings(2, moe_zloss_weight=1.0))
    fill(peer)
    peer(inputs())
    theirs = routers.batched_router_zloss(settings(2, moe_zloss_weight=1.0))
    logits = inputs().flatten(0, 1) @ peer.layer.weight.T
    torch.testing.assert_close(router_z_loss(logits)[None], theirs)


def test_p07_our_layer_at_top_1_equals_theirs_unnormalised() -> None:
    peer = routers.LearnedRouter(settings(1))
    fill(peer)
    layer = make_layer(1, score_func="softmax")
    with torch.no_grad():
        layer.router.weight_ED.copy_(peer.layer.weight)
    _, weights_T1, _ = peer(inputs())
    ours = route(layer.router(inputs().flatten(0, 1)), top_k=1, score_func="softmax")
    torch.testing.assert_close(ours.gate_weights_TK, weights_T1)
    assert ours.gate_weights_TK.std() > 1e-2
