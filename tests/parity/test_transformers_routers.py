"""Routers and losses of transformers' DeepSeek-V4 and Switch Transformer: √softplus, hashing, first choices.

DeepSeek-V4's experts clamp what ours do not, so of it the routers are compared.
"""

import pytest
import torch
from our_layer import D, E, answer, by_expert, fill, inputs, make_layer
from peer_code import need
from routes import route

from explorer.config.rule_text import GShardLoss, SwitchLoss, ZLoss
from explorer.model.balancers import LayerBatch, make_balancer
from explorer.model.choose import choose
from explorer.model.router import LayerContext, sequence_counts

deepseek, switch = need(
    "transformers.models.deepseek_v4.modeling_deepseek_v4",
    "transformers.models.switch_transformers.modeling_switch_transformers",
)

BIAS = torch.tensor([0.3, -0.4, 0.1, 0.0, -0.2, 0.25, -0.1, 0.05])


def settings(top_k: int):
    """Their configuration; the gate is √softplus unless it says otherwise."""
    config = deepseek.DeepseekV4Config(hidden_size=D, n_routed_experts=E, num_experts_per_tok=top_k)
    config.routed_scaling_factor, config.vocab_size = 1.5, 32
    assert config.scoring_func == "sqrtsoftplus"
    return config


@pytest.mark.parametrize("bias", [torch.zeros(E), BIAS], ids=["neutral", "biased"])
def test_deepseek_v4_router_and_its_gradient(bias: torch.Tensor) -> None:
    peer, layer = (
        deepseek.DeepseekV4TopKRouter(settings(3)),
        make_layer(3, score_func="sqrt_softplus", route_scale=1.5),
    )
    fill(peer)
    peer.e_score_correction_bias.copy_(bias)
    with torch.no_grad():
        layer.router.weight_ED.copy_(peer.weight)
    _, weights_TK, ids_TK = peer(inputs())
    mine, theirs = answer(layer, inputs(), bias).gates_TE, by_expert(ids_TK, weights_TK)
    torch.testing.assert_close(mine, theirs)
    cotangent = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(0))
    (mine * cotangent).sum().backward()
    (theirs * cotangent).sum().backward()
    torch.testing.assert_close(layer.router.weight_ED.grad, peer.weight.grad, rtol=1e-4, atol=1e-5)


def test_deepseek_v4_hash_router() -> None:
    # One table in both: the id decides, the router's scores weigh.
    peer = deepseek.DeepseekV4HashRouter(settings(2))
    fill(peer)
    layer = make_layer(2, 32, score_func="sqrt_softplus", route_scale=1.5, routing="hash")
    with torch.no_grad():
        layer.router.weight_ED.copy_(peer.weight)
    peer.tid2eid.copy_(layer.router.hash_table_VK)
    tokens = torch.randint(0, 32, (30,), generator=torch.Generator().manual_seed(0))
    x_TD = inputs().flatten(0, 1)
    _, weights_TK, ids_TK = peer(x_TD, tokens)
    ours = choose(layer.router, x_TD, layer.config, None, LayerContext(layer=0, tokens_T=tokens))
    assert torch.equal(ours.topk_expert_ids_TK, ids_TK)
    torch.testing.assert_close(ours.gate_weights_TK, weights_TK)


@pytest.mark.parametrize("num_sequences", [1, 3])
def test_p20_switch_losses(num_sequences: int) -> None:
    # Groups are sequences: theirs is GShard's loss at unit scale, and of one group Switch's.
    generator = torch.Generator().manual_seed(1)
    logits_BSE = torch.randn(num_sequences, 12, E, generator=generator)
    left, right = logits_BSE.clone().requires_grad_(), logits_BSE.clone().requires_grad_()
    probabilities = right.softmax(-1)
    theirs = switch.load_balancing_loss_func(probabilities, probabilities.argmax(-1))
    routing = route(left.flatten(0, 1), top_k=2, score_func="softmax")
    batch = LayerBatch(routing, sequence_counts(routing.topk_expert_ids_TK, num_sequences, E))
    mine = make_balancer(GShardLoss(scope="sequence", normalisation="unit")).loss(batch)
    torch.testing.assert_close(mine, theirs)
    if num_sequences == 1:
        torch.testing.assert_close(make_balancer(SwitchLoss()).loss(batch), theirs)
    z = make_balancer(ZLoss()).loss(batch)
    torch.testing.assert_close(z, switch.router_z_loss_func(right))
    (mine + z).backward()
    (theirs + switch.router_z_loss_func(right)).backward()
    torch.testing.assert_close(left.grad, right.grad, rtol=1e-4, atol=1e-7)
