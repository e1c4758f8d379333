"""From options to configurations."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from explorer.config import BalancerConfig, RunConfig
from explorer.errors import ConfigError
from explorer.presets import get_preset, preset_balancer
from explorer.rules import parse_value, whole


def config_from_options(options: argparse.Namespace) -> RunConfig:
    """The preset (or the file of `--config`), changed by every `--set`."""
    file: Path | None = getattr(options, "config", None)
    config = read_config(file) if file else get_preset(options.preset)
    for setting in options.settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError("--set", setting, "has no '='", "write it as model.top_k=4")
        is_balancer = name.startswith("balancer")
        config = config.with_setting(name.strip(), value.strip() if is_balancer else parse_value(value))
    return config


def read_config(path: Path) -> RunConfig:
    """Read `RunConfig.to_dict` back from a JSON file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("--config", str(path), f"cannot be read ({error})", "give a JSON file") from error
    return RunConfig.from_dict(data)


def with_arm(config: RunConfig, balancer: BalancerConfig, seed: int) -> RunConfig:
    """The same experiment with another balancer and seed."""
    whole("training.seed", seed, least=0)
    return replace(config, balancer=balancer, training=replace(config.training, seed=seed))


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


def parse_arms(text: str, preset: str | None) -> list[BalancerConfig]:
    """The balancers of `--arms`; an arm that appears twice is refused."""
    balancers = [preset_balancer(preset, arm) for arm in split_arms(text)]
    for balancer in balancers:
        if balancers.count(balancer) > 1:
            raise ConfigError("--arms", str(balancer), "is named twice", "keep one; use --seeds to repeat")
    return balancers


def parse_seeds(text: str) -> list[int]:
    """Whole numbers, separated by commas, each once."""
    try:
        seeds = [int(piece) for piece in text.split(",")]
    except ValueError:
        raise ConfigError("--seeds", text, "must be whole numbers", "write 0,1,2") from None
    if len(set(seeds)) < len(seeds):
        raise ConfigError("--seeds", text, "names a seed twice", "name each once")
    return seeds


def rule_names(balancer: BalancerConfig) -> str:
    """none, aux_loss, loss_free+seq_aux or none/loss_free: the kinds without their settings."""
    stages = [balancer.rules, *(change.rules for change in balancer.schedule)]
    return "/".join("+".join(rule.name for rule in rules) or "none" for rules in stages)
