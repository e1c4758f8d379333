"""Names of the routings (`model.routing`): labels, families, and the text form of an arm.

An arm of a comparison is a balancer, or a routing that leaves a balancer nothing to do:

    none    loss_free:u=0.001    expert_choice    expert_choice:chunk=128+z_loss    dense

The arithmetic is in `explorer/model/expert_choice.py` and `explorer/model/controls.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from explorer.config.model import ModelConfig
from explorer.config.rule_text import parse_value
from explorer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RoutingKind:
    """Display names of one routing. Its key is also the family of its runs."""

    words: str
    short: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Option of the text form -> field of the model section."""


KINDS: dict[str, RoutingKind] = {
    "token_choice": RoutingKind(words="token choice", short="token choice"),
    "expert_choice": RoutingKind(
        words="expert choice", short="expert choice", options={"chunk": "expert_choice_chunk"}
    ),
    "expert_threshold": RoutingKind(
        words="expert thresholds", short="thresholds", options={"ema": "threshold_ema"}
    ),
    "hash": RoutingKind(words="hash routing", short="hash"),
    "random": RoutingKind(words="random routing", short="random"),
    "dense": RoutingKind(words="dense model of equal active size", short="dense"),
}
COMPARED_FIELDS = ("routing", *(f for kind in KINDS.values() for f in kind.options.values()))
"""Fields of the model section that an arm may set, beside the balancer."""


def count_scope(model: ModelConfig) -> str:
    """Scope over which a routing counts or ranks tokens: micro_batch, chunk, global_batch or none."""
    if model.routing == "expert_choice":
        return "micro_batch" if model.expert_choice_chunk is None else "chunk"
    return "global_batch" if model.routing == "expert_threshold" else "none"


def label(model: ModelConfig) -> str:
    """Legend label of a routing other than token choice, including its scope."""
    words = KINDS[model.routing].words
    if model.routing == "expert_choice":
        chunk = model.expert_choice_chunk
        return f"{words} ({'micro-batch' if chunk is None else f'chunks of {chunk} tokens'})"
    if model.routing == "expert_threshold":
        return f"{words} EMA {model.threshold_ema:g} (global batch scope)"
    return words


def arm_text(model: ModelConfig, balancer: str) -> str:
    """The text form of an arm that `split_arm` reads back; a balancer alone under token choice."""
    if model.routing == "token_choice":
        return balancer
    defaults = {f.name: f.default for f in fields(model)}
    changed = [
        f"{option}={getattr(model, name)}"
        for option, name in KINDS[model.routing].options.items()
        if getattr(model, name) != defaults[name]
    ]
    text = model.routing + (":" + ",".join(changed) if changed else "")
    return text if balancer == "none" else f"{text}+{balancer}"


def split_arm(text: str) -> tuple[dict[str, Any] | None, str]:
    """The model fields that an arm sets (None if it names no routing), and its balancer's text.

    >>> split_arm("expert_choice:chunk=128+z_loss")
    ({'routing': 'expert_choice', 'expert_choice_chunk': 128, 'threshold_ema': 0.9}, 'z_loss')
    >>> split_arm("loss_free:u=0.01")
    (None, 'loss_free:u=0.01')
    """
    match = re.match(r"\s*(\w+)\s*(?::([^+/]*))?(?:\+(.*)|(/.*))?$", text, re.DOTALL)
    if match is None or match[1] not in KINDS:
        return None, text
    name, options, rules, schedule = match.groups()
    # Fields of another routing return to their defaults, so that the arm's text is complete.
    values = {f.name: f.default for f in fields(ModelConfig) if f.name in COMPARED_FIELDS}
    assert MISSING not in values.values()
    values["routing"] = name
    for option in filter(None, (options or "").split(",")):
        key, equals, value = (part.strip() for part in option.partition("="))
        values[_field(name, key, equals, value)] = parse_value(value)
    return values, rules or ("none" + schedule if schedule else "none")


def _field(name: str, key: str, equals: str, value: str) -> str:
    options = KINDS[name].options
    if not equals:
        raise ConfigError("routing", f"{name}:{key}", "has no '='", "write setting=value")
    if key in options.values():
        return key
    if key not in options:
        remedy = f"choose one of {', '.join(options)}" if options else "leave it out"
        raise ConfigError(f"{name}.{key}", value, "is not a setting of this routing", remedy)
    return options[key]


def arm_kind(text: str) -> tuple[str, str]:
    """Name of the routing that an arm's text sets ("" for none), and its balancer's text."""
    values, balancer = split_arm(text)
    return ("" if values is None else str(values["routing"])), balancer


def short_routing(text: str) -> tuple[str, str]:
    """Short name of the routing in an arm's text ("" for none), and its balancer's text."""
    values, balancer = split_arm(text)
    if values is None:
        return "", balancer
    kind = KINDS[values["routing"]]
    defaults = {f.name: f.default for f in fields(ModelConfig)}
    changed = [f" {values[f]}" for f in kind.options.values() if values[f] != defaults[f]]
    return kind.short + "".join(changed), balancer
