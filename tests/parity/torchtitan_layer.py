"""torchtitan's layer of experts beside ours with the same weights."""

import torch
from our_layer import D, E, F, copy_experts, fill, make_layer
from peer_code import need
from torch import nn

moe, linear, dispatch, optim = need(
    "torchtitan.models.common.moe",
    "torchtitan.models.common.linear",
    "torchtitan.models.common.token_dispatcher",
    "torchtitan.components.optimizer",
)
BIAS = torch.tensor([0.3, -0.4, 0.1, 0.0, -0.2, 0.25, -0.1, 0.05])
U = 0.01


def make_theirs(top_k: int = 2, coeff: float | None = U, **changes) -> nn.Module:
    """Their MoE layer of E experts; `changes`: fields of its router."""
    config = moe.MoE.Config(
        num_experts=E,
        routed_experts=moe.RoutedExperts.Config(
            inner_experts=moe.GroupedExperts.Config(dim=D, hidden_dim=F, num_experts=E),
            token_dispatcher=dispatch.LocalTokenDispatcher.Config(num_experts=E, top_k=top_k),
        ),
        router=moe.TokenChoiceTopKRouter.Config(
            num_experts=E,
            gate=linear.Linear.Config(in_features=D, out_features=E),
            top_k=top_k,
            **changes,
        ),
        load_balance_coeff=coeff,
    )
    layer = config.build()
    fill(layer)
    return layer


def make_ours(theirs: nn.Module, top_k: int = 2, **changes):
    """Ours with the same weights."""
    layer = make_layer(top_k, **changes)
    with torch.no_grad():
        layer.router.weight_ED.copy_(theirs.router.gate.weight)
    experts = theirs.routed_experts.inner_experts
    copy_experts(layer, torch.cat([experts.w1_EFD, experts.w3_EFD], dim=1), experts.w2_EDF)
    return layer
