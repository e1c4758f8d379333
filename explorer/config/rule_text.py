"""The balancing rules of a run, as frozen values.

A run's balancer is a tuple of rules (`()` is the explicit control `none`), and a schedule may
replace that tuple at later steps. The text form is typed by users:

    none                                  aux_loss:scope=sequence,coeff=0.01
    loss_free:bias_update_rate=0.001      loss_free+seq_aux+z_loss:coeff=0.001
    none/400/loss_free                    (none from step 0, loss_free from step 400)

The arithmetic is in `explorer/model/balancers.py` and `explorer/routing/balancing.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from explorer.config.rules import RULES as RULES
from explorer.config.rules import SCOPES as SCOPES
from explorer.config.rules import AuxLoss as AuxLoss
from explorer.config.rules import Bip as Bip
from explorer.config.rules import GShardLoss as GShardLoss
from explorer.config.rules import LossFree as LossFree
from explorer.config.rules import MovingQuantile as MovingQuantile
from explorer.config.rules import Quantile as Quantile
from explorer.config.rules import Rule as Rule
from explorer.config.rules import SequenceAuxLoss as SequenceAuxLoss
from explorer.config.rules import SimBal as SimBal
from explorer.config.rules import Smebu as Smebu
from explorer.config.rules import SwitchLoss as SwitchLoss
from explorer.config.rules import ZLoss as ZLoss
from explorer.errors import ConfigError

# Short names of fields in the text form.
ALIASES = {"u": "bias_update_rate", "alpha": "coeff", "aux_loss_coeff": "coeff", "count_scope": "scope"}


def check_rules(rules: tuple[Rule, ...]) -> None:
    """Reject two rules of the same kind, and two rules that move the bias."""
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError("balancer", "+".join(names), f"names {name} twice", "keep one of them")
    movers = [rule.name for rule in rules if rule.moves_bias]
    if len(movers) > 1:
        raise ConfigError(
            "balancer", "+".join(names), f"moves the bias with {' and '.join(movers)}", "keep one of them"
        )
    for rule in rules:
        others = [other.name for other in rules if other.family and other is not rule]
        if rule.alone and others:
            raise ConfigError(
                "balancer",
                "+".join(names),
                f"puts {' and '.join(others)} beside {rule.name}, which solves for balance by itself: the "
                "gradient of a loss would only move the scores that it solves for",
                "keep one of them",
            )


def parse_value(text: str) -> Any:
    """Parse a value: none, true, false, a number or a word."""
    lowered = text.strip().lower()
    if lowered in ("none", "null"):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    for kind in (int, float):
        try:
            return kind(lowered)
        except ValueError:
            continue
    return text.strip()


Defaults = Mapping[str, Mapping[str, Any]]
"""Rule name -> settings that a preset supplies where the text has none."""


def make_rule(name: str, settings: Mapping[str, Any], defaults: Defaults | None = None) -> Rule:
    """A rule from its name and settings; an unknown name raises an error that lists the known ones."""
    if name not in RULES:
        raise ConfigError(
            "balancer", name, "is not a known balancer", f"choose none or one of {', '.join(RULES)}"
        )
    of_rule = {f.name: f for f in fields(RULES[name])}
    values: dict[str, Any] = {}
    for key, value in settings.items():
        field = key if key in of_rule else ALIASES.get(key, key)
        if field == "scope" and field not in of_rule and RULES[name].moves_bias:
            if value == "global_batch":
                continue
            raise ConfigError(
                f"{name}.scope",
                value,
                "cannot be: the bias is one number per expert for all tokens, updated once per optimizer "
                "step from the counts of the whole step",
                "leave it out; aux_loss:scope=sequence and seq_aux balance within sequences",
            )
        if field not in of_rule:
            raise ConfigError(
                f"{name}.{key}",
                value,
                "is not a setting of this balancer",
                f"choose one of {', '.join(of_rule)}",
            )
        if field in values:
            raise ConfigError(f"{name}.{key}", value, "is given twice", "keep one")
        # Accept an integer for a float field.
        if (
            isinstance(of_rule[field].default, float)
            and isinstance(value, int)
            and not isinstance(value, bool)
        ):
            value = float(value)
        values[field] = value
    return RULES[name](**{**(defaults or {}).get(name, {}), **values})


def parse_rules(text: str, defaults: Defaults | None = None) -> tuple[Rule, ...]:
    """`loss_free:u=0.001+seq_aux` -> the tuple of rules; `none` -> ()."""
    if text.strip() in ("none", ""):
        return ()
    rules = []
    for part in _split_rules(text):
        name, _, options = part.partition(":")
        settings = {}
        for option in filter(None, options.split(",")):
            key, equals, value = option.partition("=")
            if not equals:
                raise ConfigError("balancer", text, f"{option!r} has no '='", "write setting=value")
            settings[key.strip()] = parse_value(value)
        rules.append(make_rule(name.strip(), settings, defaults))
    check_rules(tuple(rules))
    return tuple(rules)


def _split_rules(text: str) -> list[str]:
    """Split at '+', but not inside a number such as 1e+3."""
    parts = [""]
    for index, char in enumerate(text):
        exponent = (
            index > 1 and text[index - 1] in "eE" and (text[index - 2].isdigit() or text[index - 2] == ".")
        )
        if char == "+" and not exponent:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def format_rules(rules: Iterable[Rule]) -> str:
    """The text form that `parse_rules` reads back; settings at their default are left out."""
    parts = []
    for rule in rules:
        changed = [
            f"{f.name}={_format_value(getattr(rule, f.name))}"
            for f in fields(rule)
            if f.default is MISSING or getattr(rule, f.name) != f.default
        ]
        parts.append(rule.name + (":" + ",".join(changed) if changed else ""))
    return "+".join(parts) or "none"


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def label_rules(rules: tuple[Rule, ...]) -> str:
    """Legend label; always includes the count scope.

    >>> label_rules((AuxLoss(scope="sequence"),))
    'auxiliary loss α=0.01 (sequence scope)'
    """
    return " + ".join(rule.label for rule in rules) or "no balancing"


def family(rules: tuple[Rule, ...]) -> str:
    """Colour family of a run: none, the family of its rules, or combined."""
    kinds = [rule.family for rule in rules if rule.family]
    if len(set(kinds)) > 1:
        return "combined"
    return kinds[0] if kinds else "none"


def bias_form(rules: tuple[Rule, ...]) -> str | None:
    """How the bias acts on scores, additive or multiplicative; None: no rule moves it."""
    return next((rule.bias_form for rule in rules if rule.moves_bias), None)


def count_scope(rules: tuple[Rule, ...]) -> str:
    """The scope over which loads are counted for balancing; several are joined by '+'."""
    scopes = dict.fromkeys(rule.count_scope for rule in rules)
    return "+".join(scope for scope in scopes if scope) or "none"


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, **plain(rule)}


def plain(value: Any) -> dict[str, Any]:
    """A flat dataclass as plain data; a later field at its default is left out (`rule.later`)."""
    return {
        f.name: getattr(value, f.name)
        for f in fields(value)
        if not (f.metadata.get("later") and getattr(value, f.name) == f.default)
    }


def rule_from_dict(data: Mapping[str, Any]) -> Rule:
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise ConfigError("balancer.rules", data, "is not a rule", "give a name and its settings")
    return make_rule(data["name"], {k: v for k, v in data.items() if k != "name"})
