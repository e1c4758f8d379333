"""What a legend, a chip and a link call a balancing rule."""

from collections.abc import Sequence

from explorer.config.routings import short_routing
from explorer.config.rule_text import Rule
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError

NO_BALANCING = "no balancing"
"""What a legend calls an arm without a rule."""
MOST_STAGES = 4
"""Rules, one after the other, that a legend names."""


def short_rule(balancer: str, label: str) -> str:
    """`short_balancer`, or the label of a run whose text form does not say what its label does."""
    try:
        routing, rules = short_routing(balancer)
        states = bool(routing) or not label or BalancerConfig.parse(rules).label == label
    except ConfigError:
        return label or balancer or "unknown"
    changed = balancer.count("/") >= 4
    return short_name(balancer) if balancer and (states or changed) else label or "unknown"


def short_name(balancer: str) -> str:
    """`short_balancer` as legends, lists and sentences write it: `no balancing` for none."""
    words = short_balancer(balancer)
    return NO_BALANCING if words == "none" else words


def short_balancer(text: str) -> str:
    """`aux_loss:scope=sequence` -> `aux sequence 0.01`: short enough for a URL.

    Also `expert_choice:chunk=128` -> `expert choice 128`; an unstated rule is unknown.
    """
    if not text:
        return "unknown"
    try:
        routing, rules = short_routing(text)
        balancer = BalancerConfig.parse(rules)
    except ConfigError:
        return text
    parts = [short_rules(balancer.rules)]
    parts += [f"from {change.step} {short_rules(change.rules)}" for change in balancer.schedule]
    words = ", ".join(parts)
    if not routing:
        return words
    return routing if words == "none" else f"{routing} + {words}"


def legend(config: RunConfig) -> str:
    """Legend label of a configuration."""
    return legend_of(config.label, config.arm)


def legend_of(label: str, balancer: str) -> str:
    """The full label, and for a run whose rules changed more than once the short form of each."""
    if balancer.count("/") < 4:
        return label or balancer
    first, *later = short_balancer(balancer).split(", from ")
    later = [f"from {part}" for part in later]
    if len(later) >= MOST_STAGES:
        later = [f"{len(later) - 2} more changes", *later[-2:]]
    return ", ".join([first, *later])


def short_rules(rules: Sequence[Rule]) -> str:
    """`loss-free 0.003`, `aux sequence 0.01 + z-loss 0.001` or `none`."""
    return " + ".join(rule.short for rule in rules) or "none"
