"""Measured time of the MoE layers for one batch, under a selection rule."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explorer.model.choose import choose
from explorer.model.router import LayerContext, sequence_counts
from explorer.model.transformer import MoELayer
from explorer.tasks.selection import Reselection, SelectionRule
from explorer.tasks.trained import TrainedModel

REPEATS = 15
"""Measurements, of which the median counts; one more before them warms up."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Medians, milliseconds, summed over the MoE layers."""

    experts_ms: float
    """The routed experts' products, given the choice."""
    choice_ms: float
    """Router, selection rule and gates."""
    repeats: int = REPEATS


def layer_inputs(trained: TrainedModel, tokens_BS: Tensor) -> list[tuple[MoELayer, Tensor]]:
    """Each MoE layer with what it reads in a forward pass over the tokens, [B, S, D]."""
    with _recorded(trained) as inputs:
        trained.forward(tokens_BS)
    return inputs


@contextmanager
def _recorded(trained: TrainedModel) -> Iterator[list[tuple[MoELayer, Tensor]]]:
    inputs: list[tuple[MoELayer, Tensor]] = []

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, MoELayer)
        inputs.append((layer, arguments[0]))

    handles = [m.register_forward_pre_hook(keep) for m in trained.model.modules() if isinstance(m, MoELayer)]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def latency(
    trained: TrainedModel,
    inputs: list[tuple[MoELayer, Tensor]],
    rule: SelectionRule,
    repeats: int = REPEATS,
) -> Latency:
    """Time each layer on its inputs, as one batch: [B, 1, D] for decoding, [B, S, D] for prefill.

    Attention, norms and shared experts are the same under every rule and are not timed. On a GPU the
    host waits for each part.
    """
    experts_ms, choice_ms = [], []
    for _ in range(repeats + 1):
        parts = [_timed(trained, layer, x_BSD, rule) for layer, x_BSD in inputs]
        choice_ms.append(1000 * sum(choice for choice, _ in parts))
        experts_ms.append(1000 * sum(experts for _, experts in parts))
    return Latency(
        experts_ms=statistics.median(experts_ms[1:]),
        choice_ms=statistics.median(choice_ms[1:]),
        repeats=repeats,
    )


def _timed(trained: TrainedModel, layer: MoELayer, x_BSD: Tensor, rule: SelectionRule) -> tuple[float, float]:
    """Seconds for the choice and for the experts."""
    x_TD = x_BSD.reshape(-1, x_BSD.shape[-1])
    context = LayerContext(
        layer=0,
        tokens_T=torch.zeros(len(x_TD), dtype=torch.int64, device=x_TD.device),
        reroute=Reselection(rule, torch.zeros(len(x_TD), dtype=torch.int64)),
    )
    start = _now(x_TD)
    routing = choose(layer.router, x_TD, layer.config, trained.balancer.bias_form, context)
    after_choice = _now(x_TD)
    served_E = sequence_counts(routing.topk_expert_ids_TK, 1, layer.config.num_experts)[0]
    before = _now(x_TD)
    layer.experts(x_TD, routing, served_E)
    return after_choice - start, _now(x_TD) - before


def _now(x: Tensor) -> float:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
