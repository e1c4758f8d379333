"""Selection of experts: the only place that reads `model.routing`, except for dense models.

Those have no router; `transformer.py` builds them.
"""

from torch import Tensor

from explorer.config.model import ModelConfig
from explorer.model.capacity import limited
from explorer.model.controls import HashRouter, hash_table, random_subsets, with_gates
from explorer.model.expert_choice import (
    ThresholdRouter,
    expert_choice,
    expert_threshold,
    initial_threshold,
)
from explorer.model.router import LayerContext, Router, Routing
from explorer.model.token_choice import NoisyRouter, token_choice


def choose(
    router: Router, x_TD: Tensor, config: ModelConfig, bias_form: str | None, context: LayerContext
) -> Routing:
    """Route one layer's tokens. bias_form: how the selection bias acts; None: no bias."""
    if config.routing == "token_choice":
        routing = token_choice(router, x_TD, config, bias_form, context)
    else:
        routing = _otherwise(router, x_TD, config, context)
    if context.reroute is not None:
        routing = context.reroute(routing, context.layer)
    if config.capacity_factor is None:
        return routing
    top_k = routing.selection.top_k if routing.selection else config.top_k
    return limited(routing, config.capacity_factor, config.drop_policy, top_k)


def _otherwise(router: Router, x_TD: Tensor, config: ModelConfig, context: LayerContext) -> Routing:
    """Routings other than token choice by score. No selection bias applies (`config.fit`)."""
    logits_TE = router(x_TD)
    if config.routing == "expert_choice":
        return expert_choice(logits_TE, config)
    if config.routing == "expert_threshold":
        assert isinstance(router, ThresholdRouter)
        return expert_threshold(logits_TE, router.threshold_E, config)
    if config.routing == "hash":
        assert isinstance(router, HashRouter)
        ids_TK = router.hash_table_VK[context.tokens_T]
    else:
        ids_TK = random_subsets(len(x_TD), config.num_experts, config.top_k, context.generator(x_TD.device))
    return with_gates(logits_TE, ids_TK, config)


def make_router(config: ModelConfig, *, vocab_size: int, layer: int) -> Router:
    """The router of MoE layer `layer`, with the state that its routing needs beside the logits.

    Its initial weights are the same for every routing, so that pairs of runs start from equal weights.
    """
    router = _new_router(config, vocab_size, layer)
    router.requires_grad_(not config.frozen_router)
    return router


def _new_router(config: ModelConfig, vocab_size: int, layer: int) -> Router:
    sizes = config.hidden_size, config.num_experts, config.init_std
    if config.routing == "expert_threshold":
        return ThresholdRouter(*sizes, initial_threshold(config))
    if config.routing == "hash":
        return HashRouter(*sizes, hash_table(vocab_size, config.num_experts, config.top_k, layer))
    return NoisyRouter(*sizes) if config.noisy_top_k else Router(*sizes)
