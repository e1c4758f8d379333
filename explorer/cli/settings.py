"""From options to configurations."""

import argparse
import json
from pathlib import Path

from explorer.config.presets import arm_config, get_preset
from explorer.config.routings import arm_kind
from explorer.config.rule_text import parse_value
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError, shortened


def config_from_options(options: argparse.Namespace) -> RunConfig:
    """The preset (or the file of `--config`), modified by every `--set`."""
    file: Path | None = getattr(options, "config", None)
    config = read_config(file) if file else get_preset(options.preset)
    settings = {}
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError("--set", setting, "has no '='", "write it as model.top_k=4")
        is_balancer = name.startswith("balancer")
        settings[name.strip()] = value.strip() if is_balancer else parse_value(value)
    return config.with_settings(settings)


def read_config(path: Path) -> RunConfig:
    """Load a RunConfig from a JSON file of `RunConfig.to_dict`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = shortened(str(error))
        raise ConfigError("--config", str(path), f"cannot be read ({reason})", "give a JSON file") from error
    except RecursionError as error:
        raise ConfigError(
            "--config", str(path), "is nested too deep", "give a run's configuration"
        ) from error
    return RunConfig.from_dict(data)


def split_arms(text: str) -> list[str]:
    """Split at the commas between arms, not at those between an arm's settings.

    >>> split_arms("none,aux_loss:scope=sequence,coeff=0.01,loss_free")
    ['none', 'aux_loss:scope=sequence,coeff=0.01', 'loss_free']
    """
    arms: list[str] = []
    for piece in text.split(","):
        is_setting = "=" in piece and ":" not in piece.partition("=")[0]
        if is_setting and arms:
            arms[-1] += f",{piece}"
        else:
            arms.append(piece.strip())
    return arms


def parse_arms(base: RunConfig, text: str, preset: str | None) -> list[RunConfig]:
    """The configurations of `--arms` (see `presets.arm_config`); a duplicate arm raises an error."""
    arms = [arm_config(base, arm, preset) for arm in split_arms(text)]
    for arm in arms:
        if arms.count(arm) > 1:
            raise ConfigError("--arms", arm.arm, "is named twice", "keep one; use --seeds to repeat")
    return arms


def rule_names(balancer: BalancerConfig) -> str:
    """none, aux_loss, loss_free+seq_aux or none/loss_free: the rule names without their settings."""
    stages = [balancer.rules, *(change.rules for change in balancer.schedule)]
    return "/".join("+".join(rule.name for rule in rules) or "none" for rules in stages)


def arm_names(text: str) -> str:
    """The names in an arm's text, without their settings: `expert_choice:chunk=128` -> `expert_choice`.

    An imported run's own text stays unchanged; a rule that is not stated is unknown.
    """
    if not text:
        return "unknown"
    try:
        routing, rules = arm_kind(text)
        balancer = rule_names(BalancerConfig.parse(rules))
    except ConfigError:
        return text
    if not routing:
        return balancer
    return routing if balancer == "none" else f"{routing}+{balancer}"
