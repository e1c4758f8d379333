"""The balancing rules of a run, as frozen values.

A run's balancer is a tuple of rules (`()` is the explicit control `none`), and a schedule may
replace that tuple at later steps. The text form is what a person types and what a legend says:

    none                                  aux_loss:scope=sequence,coeff=0.01
    loss_free:bias_update_rate=0.001      loss_free+seq_aux+z_loss:coeff=0.001
    none/400/loss_free                    (none from step 0, loss_free from step 400)

What each rule computes is in `explorer/model/balancers.py` and `explorer/balancing.py`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar

from explorer.errors import ConfigError, one_of

SCOPES = ("sequence", "micro_batch", "global_batch")
SCOPE_WORDS = {"sequence": "sequence", "micro_batch": "micro-batch", "global_batch": "global batch"}


def number(field: str, value: Any, *, above: float | None = None, least: float | None = None) -> None:
    """Refuse what is not a finite number in range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(field, value, "must be a finite number", "write it as 0.001 or 1e-3")
    if above is not None and value <= above:
        raise ConfigError(field, value, f"must be greater than {above:g}", "raise it")
    if least is not None and value < least:
        raise ConfigError(field, value, f"must be at least {least:g}", "raise it")


@dataclass(frozen=True, kw_only=True)
class AuxLoss:
    """Auxiliary balancing loss N · Σ f_i · P_i (Switch and GShard, generalised to K), times `coeff`."""

    name: ClassVar[str] = "aux_loss"
    coeff: float = 0.01
    """α; the objective adds the sum over layers of α times the loss."""
    scope: str = "global_batch"
    """Over which tokens f is counted: sequence, micro_batch or global_batch."""
    score_norm: str = "l1"
    """P from scores that sum to one per token (l1), or from the scores as they are (raw)."""

    def __post_init__(self) -> None:
        number("aux_loss.coeff", self.coeff, least=0)
        one_of("aux_loss.scope", self.scope, SCOPES)
        one_of("aux_loss.score_norm", self.score_norm, ("l1", "raw"))

    @property
    def count_scope(self) -> str | None:
        return self.scope


@dataclass(frozen=True, kw_only=True)
class SequenceAuxLoss:
    """DeepSeek-V3's complementary sequence-wise loss: f from the unbiased top-K, L1 scores."""

    name: ClassVar[str] = "seq_aux"
    coeff: float = 1e-4

    def __post_init__(self) -> None:
        number("seq_aux.coeff", self.coeff, least=0)

    @property
    def count_scope(self) -> str | None:
        return "sequence"


@dataclass(frozen=True, kw_only=True)
class LossFree:
    """Auxiliary-loss-free balancing: a bias, used for choosing only, moved after every step."""

    name: ClassVar[str] = "loss_free"
    bias_update_rate: float = 0.003
    """u; the bias travels at most u per step under the sign rule."""
    update_rule: str = "sign"
    """sign (Algorithm 1), proportional (to the relative violation) or rms (RMS-normalised)."""
    bias_form: str = "additive"
    """additive: top-K of s + b, b starts at 0; multiplicative: top-K of s · b, b starts at 1."""
    centred: bool = False
    """Subtract the mean of the update, so that the biases do not drift together."""
    freeze_after_step: int | None = None
    """From this step on the bias stays as it is (DeepSeek-V3: u = 0 at the end of training)."""

    def __post_init__(self) -> None:
        number("loss_free.bias_update_rate", self.bias_update_rate, least=0)
        one_of("loss_free.update_rule", self.update_rule, ("sign", "proportional", "rms"))
        one_of("loss_free.bias_form", self.bias_form, ("additive", "multiplicative"))
        one_of("loss_free.centred", self.centred, (True, False))
        if self.freeze_after_step is not None:
            whole("loss_free.freeze_after_step", self.freeze_after_step, least=0)

    @property
    def count_scope(self) -> str | None:
        # The bias moves once per optimizer step from the counts of the whole step.
        return "global_batch"


@dataclass(frozen=True, kw_only=True)
class ZLoss:
    """Router z-loss: mean squared log-sum-exp of the router logits (ST-MoE), times `coeff`."""

    name: ClassVar[str] = "z_loss"
    coeff: float = 1e-3

    def __post_init__(self) -> None:
        number("z_loss.coeff", self.coeff, least=0)

    @property
    def count_scope(self) -> str | None:
        return None


Rule = AuxLoss | SequenceAuxLoss | LossFree | ZLoss
RULES: dict[str, type[Rule]] = {r.name: r for r in (AuxLoss, SequenceAuxLoss, LossFree, ZLoss)}
# Short forms that a person may type for a field.
ALIASES = {"u": "bias_update_rate", "alpha": "coeff", "aux_loss_coeff": "coeff", "count_scope": "scope"}


def whole(field: str, value: Any, *, least: int) -> None:
    """Refuse what is not a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            field, value, f"must be a whole number of at least {least}", f"write {least} or more"
        )


def check_rules(rules: tuple[Rule, ...]) -> None:
    """Refuse a combination that has two rules of one kind."""
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError("balancer", "+".join(names), f"names {name} twice", "keep one of them")


def parse_value(text: str) -> Any:
    """The value that a person means by `text`: none, true, false, a number or a word."""
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
"""Settings that a preset gives to a rule, by the rule's name, where a person names none."""


def make_rule(name: str, settings: Mapping[str, Any], defaults: Defaults | None = None) -> Rule:
    """A rule from its name and settings; unknown names are listed against the known ones."""
    if name not in RULES:
        raise ConfigError(
            "balancer", name, "is not a known balancer", f"choose none or one of {', '.join(RULES)}"
        )
    known = {f.name: f for f in fields(RULES[name])}
    chosen: dict[str, Any] = {}
    for key, value in settings.items():
        field = key if key in known else ALIASES.get(key, key)
        if field not in known:
            raise ConfigError(
                f"{name}.{key}",
                value,
                "is not a setting of this balancer",
                f"choose one of {', '.join(known)}",
            )
        if field in chosen:
            raise ConfigError(f"{name}.{key}", value, "is given twice", "keep one")
        # An integer where a float is meant is the same number.
        if isinstance(known[field].default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        chosen[field] = value
    return RULES[name](**{**(defaults or {}).get(name, {}), **chosen})


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
    """What a legend says; the count scope is always part of it.

    >>> label_rules((AuxLoss(scope="sequence"),))
    'auxiliary loss α=0.01 (sequence scope)'
    """
    return " + ".join(_label_rule(rule) for rule in rules) or "no balancing"


def _label_rule(rule: Rule) -> str:
    if isinstance(rule, AuxLoss):
        raw = ", raw scores" if rule.score_norm == "raw" else ""
        return f"auxiliary loss α={rule.coeff:g} ({SCOPE_WORDS[rule.scope]} scope{raw})"
    if isinstance(rule, SequenceAuxLoss):
        return f"V3 sequence loss α={rule.coeff:g}"
    if isinstance(rule, ZLoss):
        return f"z-loss {rule.coeff:g}"
    extras = [w for w in (rule.update_rule, rule.bias_form) if w not in ("sign", "additive")]
    extras += ["centred"] if rule.centred else []
    extras += [f"frozen from {rule.freeze_after_step}"] if rule.freeze_after_step is not None else []
    return f"loss-free u={rule.bias_update_rate:g} ({', '.join(['global batch scope', *extras])})"


def family(rules: tuple[Rule, ...]) -> str:
    """none, aux_loss, loss_free or combined: what decides the colour of a run."""
    kinds = {"aux_loss" if isinstance(r, SequenceAuxLoss) else r.name for r in rules} - {"z_loss"}
    if "loss_free" in kinds:
        return "loss_free" if kinds == {"loss_free"} else "combined"
    return "aux_loss" if kinds else "none"


def count_scope(rules: tuple[Rule, ...]) -> str:
    """The scope over which loads are counted for balancing; several are joined by '+'."""
    scopes = dict.fromkeys(rule.count_scope for rule in rules)
    return "+".join(scope for scope in scopes if scope) or "none"


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, **asdict(rule)}


def rule_from_dict(data: Mapping[str, Any]) -> Rule:
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise ConfigError("balancer.rules", data, "is not a rule", "give a name and its settings")
    return make_rule(data["name"], {k: v for k, v in data.items() if k != "name"})
