"""Router logits to scores, and scores to gates; `explorer.routing.routing_math` in torch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from explorer.routing.spec import RouteSpec


def scores(logits_TE: Tensor, score_func: str | None) -> Tensor:
    """Affinities of every token to every expert, [T, E], with gradient.

    sigmoid        σ(x)                  Loss-Free Balancing, DeepSeek-V3: experts do not compete
    softmax        e^x / Σ e^x           Switch, Mixtral, OLMoE: over all experts, before top-K
    sqrt_softplus  √(log(1 + e^x))       DeepSeek-V4: positive, not bounded by 1
    """
    if score_func == "sigmoid":
        return logits_TE.sigmoid()
    if score_func == "softmax":
        return logits_TE.softmax(-1)
    if score_func == "sqrt_softplus":
        # softplus may come out as 0, where the slope of the root is infinite and the gradient is NaN.
        return F.softplus(logits_TE).clamp_min(torch.finfo(torch.float32).tiny).sqrt()
    raise ValueError(f"score_func = {score_func!r}: must be sigmoid, softmax or sqrt_softplus")


def weigh(logits_TE: Tensor, scores_TE: Tensor, ids_TK: Tensor, spec: RouteSpec) -> Tensor:
    """Gates of the chosen experts by `spec`, [T, K], with gradient; 0 in an empty slot.

    scores_TE: `scores` of the logits by `spec.score_func`, already computed for the selection.
    """
    weighing_TE = scores_TE if spec.gate_func is None else scores(logits_TE, spec.gate_func)
    return gate_weights(weighing_TE, ids_TK, spec.divide_by, spec.route_scale)


def gate_weights(scores_TE: Tensor, ids_TK: Tensor, divide_by: str, route_scale: float) -> Tensor:
    """Weights of the chosen experts, [T, K], with gradient, from unbiased scores; 0 in an empty slot."""
    if divide_by == "all":
        scores_TE = scores_TE / scores_TE.sum(-1, keepdim=True).clamp_min(1e-20)
    gates_TK = values_at(scores_TE, ids_TK)
    if divide_by == "chosen":
        gates_TK = gates_TK / gates_TK.sum(-1, keepdim=True).clamp_min(1e-20)
    return gates_TK * route_scale if route_scale != 1.0 else gates_TK


def values_at(values_TE: Tensor, ids_TK: Tensor) -> Tensor:
    """The values of the chosen experts, [T, K]; 0 where a slot is empty (id E)."""
    num_experts = values_TE.shape[-1]
    if ids_TK.shape[-1] < num_experts:  # a routing with empty slots has one slot per expert
        return values_TE.gather(-1, ids_TK)
    return F.pad(values_TE, (0, 1)).gather(-1, ids_TK)
