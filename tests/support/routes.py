"""`route` by keywords: tests name the one setting that they are about, the rest is the default."""

from typing import Any

from torch import Tensor

from explorer.model.router import Routing
from explorer.model.router import route as route_by_spec
from explorer.routing.spec import RouteSpec, divisor

TENSORS = ("expert_bias_E", "choosing_logits_TE", "adjust")


def route(router_logits_TE: Tensor, *, normalize_gates: bool = True, **options: Any) -> Routing:
    """The model's routing; options: fields of `RouteSpec` and the keywords of `explorer.model.router.route`.

    `normalize_gates` decides `divide_by` as a model's configuration does, unless that is given.
    """
    inputs = {name: options.pop(name) for name in TENSORS if name in options}
    options.setdefault("divide_by", divisor(normalize_gates, options["top_k"], options.get("top_p")))
    return route_by_spec(router_logits_TE, RouteSpec(**options), **inputs)
