"""Complete a run's stated balancing rule, since a recorder may state only part of it."""

from dataclasses import dataclass

from explorer.config import routings
from explorer.config.run import BalancerConfig
from explorer.errors import ConfigError

NO_BALANCING = BalancerConfig().label
NOT_STATED = "rule not stated"
"""Label of a run without a stated rule."""
UNKNOWN = "unknown"
"""Family and count scope of a rule known only by its label."""


@dataclass(frozen=True, kw_only=True)
class StatedRules:
    """The four balancer fields of run.json; empty: not stated."""

    balancer: str
    label: str
    family: str
    scope: str


def complete(stated: StatedRules) -> StatedRules:
    """Derive missing fields from the stated ones, which stay unchanged.

    The text form of a rule or routing (`loss_free:u=0.001`) gives label, family and scope. A label alone, or
    nothing at all, leaves the others unknown, not `none`: it may be any rule.
    """
    text = stated.balancer or stated.label or stated.family or NOT_STATED
    if text == NO_BALANCING and not stated.balancer:
        text = "none"
    # A family name is not a rule: it has no settings.
    is_rule = stated.balancer or stated.label or text == "none"
    rules = _of_text(text) if is_rule else None
    if rules is None:
        rules = StatedRules(balancer="", label=text, family=UNKNOWN, scope=UNKNOWN)
    return StatedRules(
        balancer=stated.balancer or rules.balancer,
        label=stated.label or rules.label,
        family=stated.family or rules.family,
        scope=stated.scope or rules.scope,
    )


def family_of(balancer: str, recorded: str) -> str:
    """The family that a rule's text has today, or the recorded one where the text is not a rule.

    A rule may get a family of its own after runs were recorded with it, as SMEBU did.
    """
    rules = _of_text(balancer) if balancer else None
    return recorded if rules is None else rules.family


def _of_text(text: str) -> StatedRules | None:
    """Fields of an arm's text form, or None if it is not one."""
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
