"""The balancing rule that a run states, completed: a recorder states as much as it knows."""

from dataclasses import dataclass

from explorer.config import routings
from explorer.config.run import BalancerConfig
from explorer.errors import ConfigError

NO_BALANCING = BalancerConfig().label
NOT_STATED = "rule not stated"
"""Label of a run that does not state its rule."""
UNKNOWN = "unknown"
"""Family and count scope of a rule that only its own label describes."""


@dataclass(frozen=True, kw_only=True)
class StatedRules:
    """The four fields of run.json about the balancer; an empty one was not stated."""

    balancer: str
    label: str
    family: str
    scope: str


def complete(stated: StatedRules) -> StatedRules:
    """Fill in what follows from what was stated; nothing that was stated changes.

    The text form of a rule or routing (`loss_free:u=0.001`) gives label, family and scope. A label alone
    leaves the others unknown: it is not `none`. So does nothing at all: it may be any rule.
    """
    text = stated.balancer or stated.label or stated.family or NOT_STATED
    if text == NO_BALANCING and not stated.balancer:
        text = "none"
    # The name of a family is no rule: it has no settings.
    is_rule = stated.balancer or stated.label or text == "none"
    known = _of_text(text) if is_rule else None
    if known is None:
        known = StatedRules(balancer="", label=text, family=UNKNOWN, scope=UNKNOWN)
    return StatedRules(
        balancer=stated.balancer or known.balancer,
        label=stated.label or known.label,
        family=stated.family or known.family,
        scope=stated.scope or known.scope,
    )


def _of_text(text: str) -> StatedRules | None:
    """What the text form of an arm says, or None where it is none."""
    try:
        routing, rules = routings.arm_kind(text)
        balancer = BalancerConfig.parse(rules)
    except ConfigError:
        return None
    label, family, scope = balancer.label, balancer.family, balancer.count_scope
    if routing and routing != "token_choice":
        words = routings.KINDS[routing].words
        label = words if balancer == BalancerConfig() else f"{words} + {label}"
        family, scope = routing, UNKNOWN
    return StatedRules(balancer=text, label=label, family=family, scope=scope)
