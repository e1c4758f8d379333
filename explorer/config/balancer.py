"""The balancer section of a run's configuration: its rules, and the steps at which they change."""

from dataclasses import dataclass, replace
from typing import Any

from explorer.config.checks import check_fields, check_int, read_int
from explorer.config.rule_text import (
    Defaults,
    Rule,
    check_rules,
    count_scope,
    family,
    format_rules,
    label_rules,
    parse_rules,
    rule_from_dict,
    rule_to_dict,
)
from explorer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScheduledRules:
    """Rules that replace the previous ones from `step` on."""

    step: int
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BalancerConfig:
    """The balancing rules of a run, and when they change."""

    rules: tuple[Rule, ...] = ()
    """The rules from step 0; an empty tuple is the control without balancing."""
    schedule: tuple[ScheduledRules, ...] = ()
    """Later changes, in order of step."""

    def __post_init__(self) -> None:
        check_rules(self.rules)
        before = 0
        for change in self.schedule:
            check_int("balancer.schedule.step", change.step, least=1)
            if change.step <= before:
                raise ConfigError(
                    "balancer.schedule.step",
                    change.step,
                    f"must come after step {before}",
                    "put the changes in order",
                )
            check_rules(change.rules)
            before = change.step

    def rules_at(self, step: int) -> tuple[Rule, ...]:
        """The rules in force in `step`."""
        current = self.rules
        for change in self.schedule:
            if step >= change.step:
                current = change.rules
        return current

    def switched(self, step: int, rules: tuple[Rule, ...]) -> "BalancerConfig":
        """A copy with `rules` in force from `step` until the next scheduled change.

        Replaces a change scheduled for that step; adds none if `rules` are already in force then.
        """
        changes = [change for change in self.schedule if change.step != step]
        if rules != self.rules_at(step - 1):
            changes.append(ScheduledRules(step=step, rules=rules))
        return replace(self, schedule=tuple(sorted(changes, key=lambda change: change.step)))

    def until(self, step: int) -> "BalancerConfig":
        """The part that has acted on a run after `step` updates: later changes are left out."""
        return replace(self, schedule=tuple(c for c in self.schedule if c.step < step))

    @classmethod
    def parse(cls, text: str, defaults: Defaults | None = None) -> "BalancerConfig":
        """Read the text form, e.g. `none/400/loss_free` (see `explorer.config.rule_text`)."""
        first, *rest = text.split("/")
        if len(rest) % 2:
            raise ConfigError(
                "balancer", text, "a schedule alternates balancer and step", "write it as none/400/loss_free"
            )
        schedule = []
        for step, rules in zip(rest[::2], rest[1::2], strict=True):
            start = read_int("balancer.schedule.step", step, least=1, remedy="write it as none/400/loss_free")
            schedule.append(ScheduledRules(step=start, rules=parse_rules(rules, defaults)))
        return cls(rules=parse_rules(first, defaults), schedule=tuple(schedule))

    @classmethod
    def from_dict(cls, data: Any) -> "BalancerConfig":
        """Build from the plain form; unknown fields are refused by name."""
        check_fields("balancer.", data, ("rules", "schedule"))
        return cls(
            rules=_rules_from("balancer.rules", data.get("rules", ())),
            schedule=_schedule_from(data.get("schedule", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` reads it back."""
        return {
            "rules": [rule_to_dict(r) for r in self.rules],
            "schedule": [
                {"step": c.step, "rules": [rule_to_dict(r) for r in c.rules]} for c in self.schedule
            ],
        }

    def with_field(self, key: str, value: Any) -> "BalancerConfig":
        """A copy with `rules` (or all of it, "") or `schedule` set from the text form."""
        if key in ("", "rules"):
            return BalancerConfig.parse(str(value))
        check_fields("balancer.", {key: value}, ("rules", "schedule"))
        return BalancerConfig.parse(f"{format_rules(self.rules)}/{value}")

    def __str__(self) -> str:
        parts = [format_rules(self.rules)]
        for change in self.schedule:
            parts += [str(change.step), format_rules(change.rules)]
        return "/".join(parts)

    @property
    def label(self) -> str:
        """Legend label: rule, strength, count scope and later changes."""
        changes = [f", from step {c.step} {label_rules(c.rules)}" for c in self.schedule]
        return label_rules(self.rules) + "".join(changes)

    @property
    def family(self) -> str:
        """none, aux_loss, loss_free, smebu, quantile, combined or scheduled."""
        return "scheduled" if self.schedule else family(self.rules)

    @property
    def count_scope(self) -> str:
        scopes = dict.fromkeys(count_scope(r) for r in (self.rules, *(c.rules for c in self.schedule)))
        return "/".join(scopes)


def _rules_from(name: str, data: Any) -> tuple[Rule, ...]:
    if not isinstance(data, list | tuple):
        raise ConfigError(name, data, "must be a list of rules", "write [] for no balancing")
    return tuple(rule_from_dict(rule) for rule in data)


def _schedule_from(data: Any) -> tuple[ScheduledRules, ...]:
    if not isinstance(data, list | tuple):
        raise ConfigError("balancer.schedule", data, "must be a list of changes", "write [] for none")
    for change in data:
        check_fields("balancer.schedule.", change, ("step", "rules"))
        if len(change) < 2:
            raise ConfigError("balancer.schedule", change, "must give step and rules", "add what is missing")
    return tuple(
        ScheduledRules(step=change["step"], rules=_rules_from("balancer.schedule.rules", change["rules"]))
        for change in data
    )
