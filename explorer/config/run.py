"""A run's configuration: four frozen dataclasses, validated on construction.

The same object drives the command line, the form of the Train page, the `runs` table and the
digest that decides which runs may be compared as pairs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from explorer.config import routings
from explorer.config.balancer import BalancerConfig as BalancerConfig
from explorer.config.balancer import ScheduledRules as ScheduledRules
from explorer.config.checks import check_fields
from explorer.config.corpus import CORPORA as CORPORA
from explorer.config.corpus import CorpusConfig as CorpusConfig
from explorer.config.fit import check_fit
from explorer.config.model import ModelConfig as ModelConfig
from explorer.config.rule_text import Rule, plain
from explorer.config.training import TrainingConfig as TrainingConfig
from explorer.errors import ConfigError

SECTIONS = ("corpus", "model", "balancer", "training")
# Fields in which a pair of runs may differ: the rule or routing under comparison, the seed that is
# averaged over, and settings that do not affect results.
NOT_IN_PAIR_KEY = {
    "model": routings.COMPARED_FIELDS,
    "training": (
        "seed",
        "device",
        "num_threads",
        "checkpoint_interval",
        "probe_tokens",
        "gradient_probe_interval",
    ),
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The complete configuration of a run."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    balancer: BalancerConfig = field(default_factory=BalancerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for change in self.balancer.schedule:
            if change.step >= self.training.num_steps:
                raise ConfigError(
                    "balancer.schedule.step",
                    change.step,
                    f"must be below training.num_steps ({self.training.num_steps})",
                    "change the rule earlier or train longer",
                )
        for rules in (self.balancer.rules, *(c.rules for c in self.balancer.schedule)):
            check_fit(rules, self.model)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` reads it back."""
        return {
            "corpus": plain(self.corpus),
            "model": plain(self.model),
            "balancer": self.balancer.to_dict(),
            "training": plain(self.training),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunConfig":
        """Validate and build; unknown sections and fields raise an error that names them."""
        check_fields("", data, SECTIONS)
        return cls(
            corpus=_build(CorpusConfig, "corpus", data),
            model=_build(ModelConfig, "model", data),
            balancer=BalancerConfig.from_dict(data.get("balancer", {})),
            training=_build(TrainingConfig, "training", data),
        )

    def with_setting(self, name: str, value: Any) -> "RunConfig":
        """A copy with `section.field` set, e.g. `with_setting("model.top_k", 4)`."""
        return self.with_settings({name: value})

    def with_settings(self, settings: Mapping[str, Any]) -> "RunConfig":
        """A copy with several fields set, in order, and validated once: some are only valid together."""
        data, balancer = self.to_dict(), self.balancer
        for name, value in settings.items():
            section, _, key = name.partition(".")
            if section == "balancer":
                balancer = balancer.with_field(key, value)
                continue
            if section not in SECTIONS:
                raise ConfigError(
                    name, value, "has no such section", f"start with one of {', '.join(SECTIONS)}"
                )
            of_section = {f.name: f for f in fields(getattr(self, section))}
            check_fields(f"{section}.", {key: value}, of_section)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            data[section][key] = float(value) if is_whole and "float" in str(of_section[key].type) else value
        return RunConfig(
            corpus=_build(CorpusConfig, "corpus", data),
            model=_build(ModelConfig, "model", data),
            balancer=balancer,
            training=_build(TrainingConfig, "training", data),
        )

    def switched(self, step: int, rules: tuple[Rule, ...]) -> "RunConfig":
        """A copy with other rules from `step` on (`BalancerConfig.switched`), validated as a whole."""
        return replace(self, balancer=self.balancer.switched(step, rules))

    @property
    def seed(self) -> int:
        return self.training.seed

    @property
    def digest(self) -> str:
        """Short digest of the whole configuration."""
        return digest_of(self.to_dict())

    def digest_until(self, step: int) -> str:
        """Digest of the settings that decide the first `step` updates; later rule changes are left out."""
        return replace(self, balancer=self.balancer.until(step)).digest

    @property
    def pair_key(self) -> str:
        """Short digest of the settings that must agree for two runs to form a pair."""
        data = self.to_dict()
        del data["balancer"]
        for section, names in NOT_IN_PAIR_KEY.items():
            for name in names:
                data[section].pop(name, None)
        return digest_of(data)

    @property
    def arm(self) -> str:
        """The arm as text: the balancer, or the routing that leaves it nothing to do."""
        return routings.arm_text(self.model, str(self.balancer))

    @property
    def label(self) -> str:
        """Legend label of the arm."""
        if self.model.routing == "token_choice":
            return self.balancer.label
        words = [routings.label(self.model)]
        if self.balancer != BalancerConfig():
            words.append(self.balancer.label)
        return " + ".join(words)

    @property
    def family(self) -> str:
        """Colour family: that of the balancer, or the routing's name."""
        return self.balancer.family if self.model.routing == "token_choice" else self.model.routing

    @property
    def count_scope(self) -> str:
        """Scope over which the balancer counts or the routing ranks tokens."""
        if self.model.routing == "token_choice":
            return self.balancer.count_scope
        return routings.count_scope(self.model)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of the fields, the balancer and pairing-neutral ones aside, in which two configurations differ.

    Takes the plain form of `RunConfig.to_dict`, as stored in run folders. A section that is not a table,
    as in an imported configuration, is compared as a whole.
    """
    names = []
    for section in ("corpus", "model", "training"):
        left, right = a.get(section, {}), b.get(section, {})
        if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
            names += [section] if left != right else []
            continue
        for name in sorted(left.keys() | right.keys()):
            neutral = name in NOT_IN_PAIR_KEY.get(section, ())
            if not neutral and left.get(name) != right.get(name):
                names.append(f"{section}.{name}")
    return names


def _build(kind: Any, section: str, data: Mapping[str, Any]) -> Any:
    values = data.get(section, {})
    check_fields(f"{section}.", values, [f.name for f in fields(kind)])
    return kind(**values)


def digest_of(data: Any) -> str:
    """Short digest of plain data."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
