"""Optimizer update: first the weights from gradients, then the selection bias from counts."""

import torch
from torch import Tensor

from explorer.config.run import TrainingConfig
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.training.ranks import Ranks


def update_weights(
    model: MoETransformer,
    optimizer: torch.optim.Optimizer,
    training: TrainingConfig,
    learning_rate: float,
    ranks: Ranks,
) -> Tensor:
    """One optimizer step from the clipped gradients of all ranks; returns the scalar norm before clipping."""
    ranks.sum_gradients(model)
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return grad_norm.detach()


def bias_LE(model: MoETransformer) -> Tensor:
    """A copy of every selection bias, float32 [L, E]."""
    return torch.stack([router.expert_bias_E for router in model.routers])


@torch.no_grad()
def update_bias(
    model: MoETransformer,
    balancer: CombinedBalancer,
    counts_LE: Tensor,
    step: int,
    observed: list[Tensor] | None,
) -> None:
    """Move every layer's bias, all layers at once; observed: per layer, the result of `Balancer.pool`."""
    if not balancer.uses_bias:
        return
    moved_LE = bias_LE(model)
    balancer.update(moved_LE, counts_LE, step, observed)
    for router, bias_E in zip(model.routers, moved_LE, strict=True):
        router.expert_bias_E.copy_(bias_E)
