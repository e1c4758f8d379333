"""transformers' blocks beside our layer with the same weights."""

import torch
from our_layer import D, E, F, answer, by_expert, copy_experts, fill, inputs
from peer_code import need
from torch import Tensor, nn

from explorer.model.transformer import MoELayer

MODELS = "transformers.models"
mixtral, olmoe, qwen3, deepseek = need(
    f"{MODELS}.mixtral.modeling_mixtral",
    f"{MODELS}.olmoe.modeling_olmoe",
    f"{MODELS}.qwen3_moe.modeling_qwen3_moe",
    f"{MODELS}.deepseek_v3.modeling_deepseek_v3",
)


def mixtral_block(top_k: int) -> nn.Module:
    config = mixtral.MixtralConfig(
        hidden_size=D, intermediate_size=F, num_local_experts=E, num_experts_per_tok=top_k
    )
    return mixtral.MixtralSparseMoeBlock(config)


def olmoe_block(top_k: int, norm_topk_prob: bool) -> nn.Module:
    config = olmoe.OlmoeConfig(hidden_size=D, intermediate_size=F, num_experts=E)
    config.num_experts_per_tok, config.norm_topk_prob = top_k, norm_topk_prob
    return olmoe.OlmoeSparseMoeBlock(config)


def qwen3_block(top_k: int, norm_topk_prob: bool) -> nn.Module:
    config = qwen3.Qwen3MoeConfig(hidden_size=D, moe_intermediate_size=F, num_experts=E)
    config.num_experts_per_tok, config.norm_topk_prob = top_k, norm_topk_prob
    return qwen3.Qwen3MoeSparseMoeBlock(config)


def deepseek_block(top_k: int, **changes) -> nn.Module:
    settings = {"n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5}
    settings |= {"n_routed_experts": E}
    config = deepseek.DeepseekV3Config(
        hidden_size=D,
        moe_intermediate_size=F,
        n_shared_experts=1,
        num_experts_per_tok=top_k,
        **(settings | changes),
    )
    return deepseek.DeepseekV3MoE(config)


def copied(block: nn.Module, layer: MoELayer) -> MoELayer:
    """Fill their block, and ours with the same weights."""
    fill(block)
    with torch.no_grad():
        layer.router.weight_ED.copy_(block.gate.weight)
    copy_experts(layer, block.experts.gate_up_proj, block.experts.down_proj)
    if layer.shared is not None:
        shared = block.shared_experts
        with torch.no_grad():
            layer.shared.gate_up.weight.copy_(torch.cat([shared.gate_proj.weight, shared.up_proj.weight]))
            layer.shared.down.weight.copy_(shared.down_proj.weight)
    return layer


def check_equal(block: nn.Module, layer: MoELayer, bias_E: Tensor | None = None) -> None:
    """Logits, choices, gates, output and every gradient."""
    copied(block, layer)
    if bias_E is not None:
        block.gate.e_score_correction_bias.copy_(bias_E)
    theirs, ours = inputs().requires_grad_(), inputs().requires_grad_()
    logits, weights_TK, ids_TK = block.gate(theirs.flatten(0, 1))
    mine = answer(layer, ours, bias_E)
    torch.testing.assert_close(mine.layer.routing.router_logits_TE, logits)
    assert torch.equal(mine.chosen_TE, by_expert(ids_TK, torch.ones_like(weights_TK)).bool())
    torch.testing.assert_close(mine.gates_TE, by_expert(ids_TK, weights_TK))
    out = block(theirs)
    torch.testing.assert_close(mine.out_BSD, out)

    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    out.backward(cotangent)
    mine.out_BSD.backward(cotangent)
    near = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours.grad, theirs.grad, **near)
    torch.testing.assert_close(layer.router.weight_ED.grad, block.gate.weight.grad, **near)
    experts = block.experts
    torch.testing.assert_close(
        layer.experts.gate_up_EDF2.grad, experts.gate_up_proj.grad.transpose(1, 2), **near
    )
    torch.testing.assert_close(layer.experts.down_EFD.grad, experts.down_proj.grad.transpose(1, 2), **near)
    assert layer.router.weight_ED.grad.abs().max() > 1e-2
