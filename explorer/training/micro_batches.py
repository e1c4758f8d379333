"""Forward and backward over the micro-batches of one step: gradients accumulate on the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from explorer.config.run import TrainingConfig
from explorer.corpus import Batch
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext
from explorer.training.batches import as_tensor
from explorer.training.devices import autocast
from explorer.training.gradients import GradientProbe
from explorer.training.meters import StepMeters, assignments_LE
from explorer.training.ranks import Ranks


def lm_loss_sum(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    """Summed cross-entropy in nats, a float32 scalar."""
    return F.cross_entropy(logits_BSV.flatten(0, 1).float(), targets_BS.flatten(), reduction="sum")


def accumulate_gradients(
    model: MoETransformer,
    balancer: CombinedBalancer,
    training: TrainingConfig,
    step: int,
    batches: Mapping[int, Batch],
    ranks: Ranks,
    meters: StepMeters,
    probe: GradientProbe | None = None,
) -> None:
    """Accumulate the gradients of the step's objective; `meters` and `probe` measure along the way.

    The objective is the mean language loss plus, for every rule, coefficient times the sum over layers of
    its loss; micro-batches are weighted equally.
    """
    accumulation = training.gradient_accumulation_steps
    device = next(model.parameters()).device
    step_counts_LE = None
    if accumulation > 1:
        step_counts_LE = count_whole_step(model, balancer, training, step, batches, ranks)
    for index, batch in batches.items():
        tokens_BS = as_tensor(batch.tokens, device)
        context = pass_context(training, step, index, step_counts_LE, meters.counts_LE())
        with autocast(device):
            output = model(tokens_BS[:, :-1], balancer, context)
        loss = lm_loss_sum(output.logits_BSV, tokens_BS[:, 1:]) / tokens_BS[:, 1:].numel()
        objective = loss
        for layer in output.layers:
            if layer.losses.objective is not None:
                objective = objective + layer.losses.objective
        if probe:
            probe.add(loss, output.layers, 1 / accumulation)
        (objective / accumulation).backward()  # type: ignore[no-untyped-call]
        meters.add(index, batch, loss.detach(), output.layers, model, balancer)


def count_whole_step(
    model: MoETransformer,
    balancer: CombinedBalancer,
    training: TrainingConfig,
    step: int,
    batches: Mapping[int, Batch],
    ranks: Ranks,
) -> Tensor | None:
    """Counts of all micro-batches, int64 [L, E], before the first backward pass, where a loss needs them.

    An auxiliary loss at global-batch scope takes f from the whole step. f carries no gradient, so one
    pass without gradient makes it exact; using only the micro-batches so far would be a different loss.
    """
    if not balancer.needs_step_counts:
        return None
    device = next(model.parameters()).device
    with torch.no_grad(), autocast(device):
        outputs = [
            model(as_tensor(batch.tokens, device)[:, :-1], balancer, pass_context(training, step, index))
            for index, batch in batches.items()
        ]
    return ranks.sum(torch.stack([assignments_LE(output.layers) for output in outputs]).sum(0))


def pass_context(
    training: TrainingConfig,
    step: int,
    micro_batch: int,
    step_counts_LE: Tensor | None = None,
    earlier_counts_LE: Tensor | None = None,
) -> ForwardContext:
    """Context of the forward pass over one micro-batch; identical for a pass that only counts."""
    return ForwardContext(
        is_training=True,
        seed=(training.seed * 1_000_003 + step) * 1_009 + micro_batch,
        step_counts_LE=step_counts_LE,
        earlier_counts_LE=earlier_counts_LE,
    )
