"""Tokens choose experts by score: the router's noise, and the options of the configuration."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.config.model import ModelConfig
from explorer.model.capacity import random_second
from explorer.model.router import LayerContext, Router, Routing, route
from explorer.routing.spec import route_spec


class NoisyRouter(Router):
    """A router that learns the size of each expert's noise (noisy top-K)."""

    def __init__(self, hidden_size: int, num_experts: int, init_std: float) -> None:
        super().__init__(hidden_size, num_experts, init_std)
        # Zeros, as in the paper: no random numbers are drawn, so all other initial weights are unchanged.
        self.noise_weight_ED = nn.Parameter(torch.zeros(num_experts, hidden_size))

    def noise_std(self, x_TD: Tensor) -> Tensor:
        """softplus(x · W_noise) [T, E], float32: the size of the noise on every logit."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return F.softplus(F.linear(x_TD.float(), self.noise_weight_ED.float()))


def token_choice(
    router: Router, x_TD: Tensor, config: ModelConfig, bias_form: str | None, context: LayerContext
) -> Routing:
    """Route one layer's tokens; see `route` for selection and gates.

    Random numbers are drawn only in training, from the context's generator, in this order: noise on the
    logits, then GShard's second expert. The same seed draws the same.

    router_noise   select by the scores of x·W + σ·ε, with gates from those of x·W. A departure from Shazeer
                   et al.: a selected expert keeps the gate of its clean score.
    noisy_top_k    H = x·W + ε · softplus(x·W_noise), ε standard normal (Shazeer et al., arXiv 1701.06538,
                   eq. 3-5): H is used for both selection and gates, as in the paper. With clean gates no
                   gradient would reach W_noise. The logits that are recorded and
                   that the z-loss sees stay clean. W_noise starts at zero as in the paper, so ε is scaled by
                   softplus(0) = 0.69 at first; W does not start at zero here.

    `eval_top_k` and no noise where the pass is not training (`route_spec`).
    """
    logits = weighing = router(x_TD)
    choosing = draws = None
    if context.is_training and (config.router_noise or config.noisy_top_k or config.random_second):
        draws = context.generator(logits.device)
    if draws is not None and isinstance(router, NoisyRouter):
        weighing = logits + normal_like(logits, draws) * router.noise_std(x_TD)
    if draws is not None and config.router_noise:
        choosing = logits + normal_like(logits, draws) * config.router_noise
    routing = route(
        weighing,
        route_spec(config, is_training=context.is_training, bias_form=bias_form),
        expert_bias_E=router.expert_bias_E if bias_form else None,
        choosing_logits_TE=choosing,
        adjust=context.adjust,
    )
    if weighing is not logits:
        routing = replace(routing, router_logits_TE=logits.float())
    if draws is not None and config.random_second:
        routing = random_second(routing, draws)
    return routing


def normal_like(logits_TE: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, float32 [T, E]."""
    return torch.randn(logits_TE.shape, generator=generator, device=logits_TE.device)
