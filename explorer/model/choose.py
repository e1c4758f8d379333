"""Which experts serve which token: the one place that reads `model.routing`.

Shapes: T tokens, D model width, E experts, K slots per token.
"""

from torch import Tensor

from explorer.model.router import LayerContext, Router, Routing, route
from explorer.model_config import ModelConfig


def choose(
    router: Router, x_TD: Tensor, config: ModelConfig, bias_form: str | None, context: LayerContext
) -> Routing:
    """The routing of one layer's tokens. bias_form: how the selection bias acts; None: there is none."""
    return route(
        router(x_TD),
        top_k=config.top_k,
        score_func=config.score_func,
        normalize_gates=config.normalize_gates,
        route_scale=config.route_scale,
        expert_bias_E=router.expert_bias_E if bias_form else None,
        bias_form=bias_form or "additive",
    )
