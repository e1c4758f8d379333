"""A run as a value: four frozen dataclasses, checked on construction.

The same object drives the command line, the form of the Train page, the `runs` table and the
digest that says which runs may be compared as pairs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from explorer.config import routings
from explorer.config.bounds import read_whole
from explorer.config.model import ModelConfig as ModelConfig
from explorer.config.rule_text import (
    Defaults,
    LossFree,
    Rule,
    SimBal,
    check_rules,
    count_scope,
    family,
    format_rules,
    label_rules,
    number,
    parse_rules,
    plain,
    rule_from_dict,
    rule_to_dict,
    whole,
)
from explorer.config.rules import later
from explorer.errors import ConfigError, one_of

"""A step in a schedule's text form; other digits than these (², ٣) are letters to `int`."""
CORPORA = ("austen", "python", "mix")
# What a pair of runs may differ in and still be the same experiment: the rule or routing that is
# compared, the seed that is averaged over, and settings that move no number.
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
class CorpusConfig:
    """Which text, and how it becomes tokens."""

    name: str = "mix"
    """austen (prose), python (the standard library's source) or mix (six domains)."""
    tokenizer: str = "bpe"
    """bpe (byte-level, trained on the corpus) or bytes (the 256 byte values)."""
    vocab_size: int = 1024
    """Number of token ids; 256 with the bytes tokenizer."""

    def __post_init__(self) -> None:
        one_of("corpus.name", self.name, CORPORA)
        one_of("corpus.tokenizer", self.tokenizer, ("bpe", "bytes"))
        whole("corpus.vocab_size", self.vocab_size, least=256)
        if self.tokenizer == "bytes" and self.vocab_size != 256:
            raise ConfigError(
                "corpus.vocab_size", self.vocab_size, "must be 256 with the bytes tokenizer", "set it to 256"
            )
        if self.tokenizer == "bpe" and self.vocab_size < 264:
            raise ConfigError(
                "corpus.vocab_size",
                self.vocab_size,
                "leaves no room for merges beside the 256 byte symbols",
                "use 264 or more, or corpus.tokenizer=bytes",
            )


@dataclass(frozen=True, kw_only=True)
class ScheduledRules:
    """From `step` on these rules replace the ones before."""

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
            whole("balancer.schedule.step", change.step, least=1)
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
        """The same with `rules` from `step` on, until the next change that is planned after it.

        A change planned for that very step gives way. Rules that are in force by then leave no change.
        """
        kept = [change for change in self.schedule if change.step != step]
        if rules != self.rules_at(step - 1):
            kept.append(ScheduledRules(step=step, rules=rules))
        return replace(self, schedule=tuple(sorted(kept, key=lambda change: change.step)))

    def until(self, step: int) -> "BalancerConfig":
        """What has acted on a run after `step` updates: without the changes from that step on."""
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
            start = read_whole(
                "balancer.schedule.step", step, least=1, remedy="write it as none/400/loss_free"
            )
            schedule.append(ScheduledRules(step=start, rules=parse_rules(rules, defaults)))
        return cls(rules=parse_rules(first, defaults), schedule=tuple(schedule))

    def __str__(self) -> str:
        parts = [format_rules(self.rules)]
        for change in self.schedule:
            parts += [str(change.step), format_rules(change.rules)]
        return "/".join(parts)

    @property
    def label(self) -> str:
        """What legends say: rule, strength and count scope, and later changes."""
        changes = [f", from step {c.step} {label_rules(c.rules)}" for c in self.schedule]
        return label_rules(self.rules) + "".join(changes)

    @property
    def family(self) -> str:
        """none, aux_loss, loss_free, combined or scheduled."""
        return "scheduled" if self.schedule else family(self.rules)

    @property
    def count_scope(self) -> str:
        scopes = dict.fromkeys(count_scope(r) for r in (self.rules, *(c.rules for c in self.schedule)))
        return "/".join(scopes)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, how fast, and what is measured on the way."""

    num_steps: int = 800
    """Optimizer steps."""
    sequence_length: int = 128
    """Tokens per sequence."""
    micro_batch_size: int = 16
    """Sequences in one forward and backward pass."""
    gradient_accumulation_steps: int = 1
    """Micro-batches per optimizer step."""
    learning_rate: float = 3e-3
    min_learning_rate: float = 3e-4
    lr_schedule: str = "cosine"
    """cosine, multistep (times 0.316 at 80 % and again at 90 % of the steps) or constant."""
    warmup_steps: int = 40
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    eval_interval: int = 100
    """Steps between evaluations; the last step is always evaluated."""
    eval_tokens: int = 12288
    """Held-out tokens per evaluation on the way, shared by the domains."""
    final_eval_tokens: int = 36864
    """Held-out tokens of the last evaluation; max_vio_global wants at least 32,000."""
    sequence_load_interval: int = 10
    """Steps between records of loads per sequence."""
    probe_tokens: int = 0
    """Tokens of the fixed probe batch whose router logits are kept at five steps; 0 keeps none."""
    checkpoint_interval: int = 0
    """Steps between checkpoints; 0 keeps only one when the run is stopped."""
    gradient_probe_interval: int = later(25)
    """Steps between looks at the routers' gradients from language and auxiliary loss; 0: never."""
    seed: int = 0
    """Seeds the initial weights and the order of the data."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu or cuda."""
    num_threads: int = 1
    """Threads of torch on a CPU; two runs side by side want one each."""

    def __post_init__(self) -> None:
        for name in (
            "num_steps",
            "sequence_length",
            "micro_batch_size",
            "gradient_accumulation_steps",
            "eval_interval",
            "eval_tokens",
            "final_eval_tokens",
            "sequence_load_interval",
            "num_threads",
        ):
            whole(f"training.{name}", getattr(self, name), least=1)
        for name in (
            "warmup_steps",
            "probe_tokens",
            "checkpoint_interval",
            "gradient_probe_interval",
            "seed",
        ):
            whole(f"training.{name}", getattr(self, name), least=0)
        number("training.learning_rate", self.learning_rate, above=0)
        number("training.min_learning_rate", self.min_learning_rate, least=0)
        number("training.weight_decay", self.weight_decay, least=0)
        number("training.max_grad_norm", self.max_grad_norm, above=0)
        for name in ("adam_beta1", "adam_beta2"):
            number(f"training.{name}", getattr(self, name), least=0)
            if getattr(self, name) >= 1:
                raise ConfigError(f"training.{name}", getattr(self, name), "must be below 1", "lower it")
        one_of("training.lr_schedule", self.lr_schedule, ("cosine", "multistep", "constant"))
        one_of("training.device", self.device, ("auto", "cpu", "cuda"))
        if self.min_learning_rate > self.learning_rate:
            raise ConfigError(
                "training.min_learning_rate",
                self.min_learning_rate,
                f"must be at most training.learning_rate ({self.learning_rate:g})",
                "lower it",
            )
        if self.warmup_steps > self.num_steps:
            raise ConfigError(
                "training.warmup_steps",
                self.warmup_steps,
                f"must be at most training.num_steps ({self.num_steps})",
                "lower it",
            )
        if self.probe_tokens % self.sequence_length:
            raise ConfigError(
                "training.probe_tokens",
                self.probe_tokens,
                f"must be a multiple of training.sequence_length ({self.sequence_length})",
                "change it",
            )

    @property
    def tokens_per_step(self) -> int:
        return self.sequence_length * self.micro_batch_size * self.gradient_accumulation_steps


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run."""

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
            "balancer": {
                "rules": [rule_to_dict(r) for r in self.balancer.rules],
                "schedule": [
                    {"step": c.step, "rules": [rule_to_dict(r) for r in c.rules]}
                    for c in self.balancer.schedule
                ],
            },
            "training": plain(self.training),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunConfig":
        """Check and build; unknown sections and fields are refused by name."""
        _known("", data, SECTIONS)
        balancer = data.get("balancer", {})
        _known("balancer.", balancer, ("rules", "schedule"))
        return cls(
            corpus=_build(CorpusConfig, "corpus", data),
            model=_build(ModelConfig, "model", data),
            balancer=BalancerConfig(
                rules=_rules("balancer.rules", balancer.get("rules", ())),
                schedule=_schedule(balancer.get("schedule", ())),
            ),
            training=_build(TrainingConfig, "training", data),
        )

    def with_setting(self, name: str, value: Any) -> "RunConfig":
        """A copy with `section.field` set, e.g. `with_setting("model.top_k", 4)`."""
        return self.with_settings({name: value})

    def with_settings(self, settings: Mapping[str, Any]) -> "RunConfig":
        """A copy with several fields set, in order, and checked once: some only make sense together."""
        data, balancer = self.to_dict(), self.balancer
        for name, value in settings.items():
            section, _, key = name.partition(".")
            if section == "balancer":
                balancer = _changed_balancer(balancer, key, value)
                continue
            if section not in SECTIONS:
                raise ConfigError(
                    name, value, "has no such section", f"start with one of {', '.join(SECTIONS)}"
                )
            known = {f.name: f for f in fields(getattr(self, section))}
            _known(f"{section}.", {key: value}, known)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            data[section][key] = float(value) if is_whole and "float" in str(known[key].type) else value
        return RunConfig(
            corpus=_build(CorpusConfig, "corpus", data),
            model=_build(ModelConfig, "model", data),
            balancer=balancer,
            training=_build(TrainingConfig, "training", data),
        )

    def switched(self, step: int, rules: tuple[Rule, ...]) -> "RunConfig":
        """The same run with other rules from `step` on (`BalancerConfig.switched`), checked as a whole."""
        return replace(self, balancer=self.balancer.switched(step, rules))

    @property
    def seed(self) -> int:
        return self.training.seed

    @property
    def digest(self) -> str:
        """Short digest of the whole configuration."""
        return _digest(self.to_dict())

    def digest_until(self, step: int) -> str:
        """Digest of what decides the first `step` updates; a change of rules after them is not part of it."""
        return replace(self, balancer=self.balancer.until(step)).digest

    @property
    def pair_key(self) -> str:
        """Short digest of what must agree for two runs to be a fair pair."""
        data = self.to_dict()
        del data["balancer"]
        for section, names in NOT_IN_PAIR_KEY.items():
            for name in names:
                data[section].pop(name, None)
        return _digest(data)

    @property
    def arm(self) -> str:
        """What is compared, as text: the balancer, or the routing with which it has nothing to do."""
        return routings.arm_text(self.model, str(self.balancer))

    @property
    def label(self) -> str:
        """What legends say of the arm."""
        if self.model.routing == "token_choice":
            return self.balancer.label
        words = [routings.label(self.model)]
        if self.balancer != BalancerConfig():
            words.append(self.balancer.label)
        return " + ".join(words)

    @property
    def family(self) -> str:
        """What decides the colour: that of the balancer, or the routing's name."""
        return self.balancer.family if self.model.routing == "token_choice" else self.model.routing

    @property
    def count_scope(self) -> str:
        """Over which tokens the balancer counts, or the routing ranks."""
        if self.model.routing == "token_choice":
            return self.balancer.count_scope
        return routings.count_scope(self.model)


def check_fit(rules: tuple[Rule, ...], model: ModelConfig) -> None:
    """Refuse rules that have nothing to act on in this model."""
    for rule in rules:
        if model.routing == "dense" or (rule.family and model.routing != "token_choice"):
            raise ConfigError(
                "balancer",
                rule.name,
                f"has nothing to balance with model.routing={model.routing}: {WHY_NOT[model.routing]}",
                "use balancer none, or routing=token_choice",
            )
        if isinstance(rule, SimBal) and model.num_experts > model.hidden_size:
            raise ConfigError(
                "balancer",
                rule.name,
                f"cannot make {model.num_experts} expert vectors orthonormal in model.hidden_size "
                f"{model.hidden_size}",
                f"raise model.hidden_size to {model.num_experts} or more, or use another rule",
            )
        if isinstance(rule, LossFree) and rule.bias_form == "multiplicative":
            _check_multiplicative(rule, model)
        rule.check_model(model)


WHY_NOT = {
    "expert_choice": "every expert takes the same number of tokens, whatever their bias or loss",
    "expert_threshold": "the thresholds alone decide how many tokens an expert takes",
    "hash": "the token's id decides",
    "random": "chance decides",
    "dense": "there are no experts",
}


def _check_multiplicative(rule: LossFree, model: ModelConfig) -> None:
    """The most loaded expert has a relative violation of at least 1 - N/K, so one step takes u (N/K - 1).

    K is the fewest experts that a token may have: one with top-p and with a random second expert.
    """
    fewest = 1 if model.top_p is not None or model.random_second else model.top_k
    reach = rule.bias_update_rate * (model.num_experts / fewest - 1)
    if rule.update_rule == "proportional" and reach >= 1:
        bound = 1 / (model.num_experts / fewest - 1)
        raise ConfigError(
            "loss_free.bias_update_rate",
            rule.bias_update_rate,
            f"must be below {bound:.3g} for a multiplicative bias with proportional steps: one step could "
            "make the bias negative, and the expert with the highest score would come last",
            "lower it, or use update_rule=sign or bias_form=additive",
        )


SECTIONS = ("corpus", "model", "balancer", "training")


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of the fields, the balancer and pairing-neutral ones aside, in which two configurations differ.

    Takes the plain form of `RunConfig.to_dict`, which is also what a run folder keeps. A section of another
    form, as in a configuration that is not ours, is compared as a whole.
    """
    found = []
    for section in ("corpus", "model", "training"):
        left, right = a.get(section, {}), b.get(section, {})
        if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
            found += [section] if left != right else []
            continue
        for name in sorted(left.keys() | right.keys()):
            neutral = name in NOT_IN_PAIR_KEY.get(section, ())
            if not neutral and left.get(name) != right.get(name):
                found.append(f"{section}.{name}")
    return found


def _changed_balancer(balancer: BalancerConfig, key: str, value: Any) -> BalancerConfig:
    if key in ("", "rules"):
        return BalancerConfig.parse(str(value))
    _known("balancer.", {key: value}, ("rules", "schedule"))
    return BalancerConfig.parse(f"{format_rules(balancer.rules)}/{value}")


def _build(kind: Any, section: str, data: Mapping[str, Any]) -> Any:
    values = data.get(section, {})
    _known(f"{section}.", values, [f.name for f in fields(kind)])
    return kind(**values)


def _rules(name: str, data: Any) -> tuple[Rule, ...]:
    if not isinstance(data, list | tuple):
        raise ConfigError(name, data, "must be a list of rules", "write [] for no balancing")
    return tuple(rule_from_dict(rule) for rule in data)


def _schedule(data: Any) -> tuple[ScheduledRules, ...]:
    if not isinstance(data, list | tuple):
        raise ConfigError("balancer.schedule", data, "must be a list of changes", "write [] for none")
    for change in data:
        _known("balancer.schedule.", change, ("step", "rules"))
        if len(change) < 2:
            raise ConfigError("balancer.schedule", change, "must give step and rules", "add what is missing")
    return tuple(
        ScheduledRules(step=change["step"], rules=_rules("balancer.schedule.rules", change["rules"]))
        for change in data
    )


def _known(prefix: str, given: Any, allowed: Any) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(
            prefix.rstrip(".") or "config", given, "must be a table of fields", "write field: value"
        )
    for name in given:
        if name not in allowed:
            raise ConfigError(
                f"{prefix}{name}", given[name], "is not a known field", f"choose one of {', '.join(allowed)}"
            )


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
