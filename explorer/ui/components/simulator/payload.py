"""What the worker is sent: settings as plain values, and what each position of a slider changes."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from explorer.charts.theme import Ink
from explorer.simulate import RuleSettings, ScoreSettings

RULES = ("none", "sign", "proportional", "rms", "smebu", "quantile", "aux_loss")
"""Rules that the worker knows."""
FIELDS = {
    ScoreSettings: (
        "num_experts", "top_k", "num_tokens", "score_function", "source", "skew", "noise", "domains",
        "domain_skew", "sequence_tokens", "drift", "shift_step", "feedback", "seed",
    ),
    RuleSettings: (
        "rule", "rate", "step_decay", "bias_form", "centred", "start_step", "sharpness", "momentum",
    ),
}  # fmt: skip
"""Settings that the worker knows. One added later may stand at its default; elsewhere the server answers."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A slider that charts follow."""

    at: float
    """Its position: the index of the option, or the number itself without options."""
    options: tuple[dict[str, Any] | None, ...] | None = None
    """What each position changes about the job; None: only the server knows. Without options it is the
    playhead."""


def plain_settings(settings: ScoreSettings | RuleSettings) -> dict[str, Any] | None:
    """The settings for the worker, or None where it does not know a rule or a setting."""
    names = FIELDS[type(settings)]
    for field in fields(settings):
        default = None if field.default is MISSING else field.default
        if field.name not in names and getattr(settings, field.name) != default:
            return None
    if isinstance(settings, RuleSettings) and settings.rule not in RULES:
        return None
    return {name: getattr(settings, name) for name in names}


def colours(ink: Ink) -> dict[str, str]:
    """The columns of a label's colour."""
    return {"light": ink.light, "dark": ink.dark}


def changes(job: Mapping[str, Any], others: Sequence[Mapping[str, Any] | None]) -> tuple[Any, ...]:
    """What each other job changes about this one: new keys, and inside of an object only what differs."""
    return tuple(None if other is None else _change(job, other) for other in others)


def _change(job: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in other.items():
        old = job.get(key)
        if value == old:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            value = {name: part for name, part in value.items() if part != old.get(name)}
        result[key] = value
    return result
