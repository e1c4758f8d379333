"""Labels of fields, values and rules on the Train page; help texts give the names in a configuration."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from explorer.config.presets import arm_config, get_preset
from explorer.config.rules import RULES, SCOPE_WORDS, STEP_DECAYS
from explorer.config.run import RunConfig
from explorer.errors import ConfigError
from explorer.figures.rule_names import legend, short_name

FIELDS = {
    "corpus.name": "text",
    "corpus.vocab_size": "vocabulary size",
    "model.num_layers": "layers",
    "model.num_dense_layers": "dense layers",
    "model.num_heads": "attention heads",
    "model.position": "position encoding",
    "model.num_experts": "experts per layer (N)",
    "model.top_k": "experts per token (K)",
    "model.num_shared_experts": "shared experts",
    "model.score_func": "score function",
    "model.route_scale": "gate scale",
    "model.init_std": "initial standard deviation",
    "model.gate_func": "gate function",
    "model.noisy_top_k": "noisy top-K",
    "model.num_groups": "expert groups",
    "model.top_k_groups": "groups per token",
    "model.top_p": "top-p",
    "model.eval_top_k": "K at evaluation",
    "model.drop_policy": "token drop policy",
    "model.expert_choice_chunk": "expert choice: group size",
    "model.threshold_ema": "expert threshold: EMA",
    "training.num_steps": "steps",
    "training.micro_batch_size": "micro-batch size",
    "training.gradient_accumulation_steps": "micro-batches per step",
    "training.min_learning_rate": "minimum learning rate",
    "training.lr_schedule": "learning rate schedule",
    "training.adam_beta1": "Adam β₁",
    "training.adam_beta2": "Adam β₂",
    "training.max_grad_norm": "gradient clipping (norm)",
    "training.eval_interval": "evaluation interval",
    "training.eval_tokens": "evaluation tokens",
    "training.final_eval_tokens": "final evaluation tokens",
    "training.sequence_load_interval": "sequence load interval",
    "training.gradient_probe_interval": "gradient norm interval",
    "training.num_threads": "threads",
    "aux_loss.scope": "count scope",
    "aux_loss.score_norm": "score normalisation",
    "loss_free.scope": "count scope",
    "loss_free.load_ema": "EMA of the counts",
    "gshard_loss.scope": "group of tokens",
    "smebu.sharpness": "κ (sharpness)",
    "smebu.momentum": "β (momentum)",
    "mqb.sequence_strength": "λ (sequence strength)",
}
"""Labels of fields whose own name is abbreviated or not clear enough."""
IN_EVERY_RULE = {
    "coeff": "α (coefficient)",
    "bias_update_rate": "u (bias update rate)",
    "num_bins": "histogram bins",
    "score_bins": "score bins",
    "bias_ema": "EMA of the bias",
}
"""The same for fields that several rules have."""
VALUES = {
    **SCOPE_WORDS,
    "shuffled": "shuffled",
    "sqrt": STEP_DECAYS["sqrt"],
    "harmonic": STEP_DECAYS["harmonic"],
    "sqrt_softplus": "square-root softplus",
    "two_hop": "two-hop questions",
    "bpe": "BPE",
    "l1": "L1",
    "rms": "RMS",
    "cpu": "CPU",
    "cuda": "CUDA",
}
"""Values that are words, where the word alone is not clear; others lose their underscores."""
UNSET = "not set"
_SETTINGS = re.compile(r" (?:\w+=|\(|\d)")
_PATH = re.compile(r"\b(?:corpus|model|training)\.\w+")


def field_label(path: str) -> str:
    """`model.top_k` -> `experts per token (K)`."""
    name = path.partition(".")[2]
    return FIELDS.get(path) or IN_EVERY_RULE.get(name) or name.replace("_", " ")


def value_label(value: Any) -> str:
    """A value of a field as lists and sentences show it."""
    if isinstance(value, str):
        return VALUES.get(value, value.replace("_", " "))
    return UNSET if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def rule_title(name: str) -> str:
    """A kind of rule: its label without settings, e.g. `auxiliary loss`."""
    return _SETTINGS.split(RULES[name]().label)[0]


def error_text(error: Exception) -> str:
    """The sentence of an error with the labels of the form in place of the names in a configuration.

    >>> error_text(ConfigError("model.top_k", 9, "must be at most model.num_experts (8)", "lower it to 8"))
    'experts per token = 9: must be at most experts per layer (8); lower it to 8.'
    """
    text = str(error)
    if isinstance(error, ConfigError) and error.field == "balancer":
        text = "balancing rule" + text.removeprefix("balancer")
    return _PATH.sub(lambda path: field_label(path.group()).partition(" (")[0], text)


def rule_labels(preset: str, arms: Sequence[str]) -> dict[str, str]:
    """Rule in its text form -> its name in legends under this preset; no two are alike.

    A rule that cannot be parsed keeps the typed text: Start says what is wrong with it.
    """
    configs = {arm: _config(preset, arm) for arm in arms}
    names = {arm: short_name(config.arm) if config else arm for arm, config in configs.items()}
    for described in (
        {arm: legend(config) if config else arm for arm, config in configs.items()},
        {arm: f"{name} ({arm})" for arm, name in names.items()},
    ):
        alike = Counter(names.values())
        names = {arm: name if alike[name] == 1 else described[arm] for arm, name in names.items()}
    return names


def distinct(preset: str, arms: Sequence[str], keep: Sequence[str]) -> list[str]:
    """Rules without those that mean the same under this preset as an earlier one or one of `keep`."""
    result: list[str] = []
    seen = [_config(preset, arm) for arm in keep]
    for arm in arms:
        config = _config(preset, arm)
        if arm in keep or config is None or config not in seen:
            result.append(arm)
            seen.append(config)
    return result


def _config(preset: str, arm: str) -> RunConfig | None:
    try:
        return arm_config(get_preset(preset), arm, preset)
    except ConfigError:
        return None
