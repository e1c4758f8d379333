"""Recompute one update of the selection bias from the logged counts: counts in, the next bias out.

The arithmetic is that of training (`explorer.routing.balancing`) in training's precision, float32, so that
the result can be compared with the logged bias bit for bit. N experts of one layer.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.config.routings import arm_kind
from explorer.config.rule_text import LossFree, Quantile, Smebu, bias_form, label_rules
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError
from explorer.routing.balancing import bias_direction, decayed_rate, is_frozen, load_error

Counts = NDArray[np.int64]
Floats = NDArray[np.float32]
ROUNDINGS = 8
"""Tolerance of a sum of fractions in units in the last place: PyTorch adds in another order."""


@dataclass(frozen=True, kw_only=True)
class RuleInForce:
    """The rule that moved the bias after a step."""

    rule: LossFree
    updates: int
    """n: this is its n-th update, from 1."""
    is_frozen: bool
    restarts: bool
    """Whether another rule, which reads a bias differently, is in force from the next step on."""

    @property
    def rate(self) -> float:
        """u of this update."""
        if self.is_frozen:
            return 0.0
        return decayed_rate(self.rule.bias_update_rate, self.rule.step_decay, self.updates)


@dataclass(frozen=True, kw_only=True)
class BiasStep:
    """Every number of one update. Arrays are [N]."""

    force: RuleInForce
    tokens_E: Counts
    before_E: Floats
    error_E: Floats
    """(mean - c) / mean."""
    direction_E: Floats
    """What u is multiplied by: the sign, the error, or the error over its root mean square; minus its mean
    where the rule is centred."""
    root_mean_square: float | None
    """Of the errors, where the rule divides by it."""
    centre: float | None
    """The mean that was subtracted, where the rule is centred."""
    after_E: Floats

    @property
    def total(self) -> int:
        """KT, all assignments of the step."""
        return int(self.tokens_E.sum())

    @property
    def mean(self) -> Fraction:
        """KT / N, exactly."""
        return Fraction(self.total, len(self.tokens_E))

    @property
    def is_rounded(self) -> bool:
        """Whether fractions were added up, whose last digit depends on the order."""
        rule = self.force.rule
        return rule.update_rule == "rms" or (rule.centred and rule.update_rule != "sign")

    def equals(self, logged_E: Floats) -> NDArray[np.bool_]:
        """[N] whether the outcome is what was logged: bit for bit, or to rounding where `is_rounded`."""
        same = self.after_E.view(np.int32) == np.ascontiguousarray(logged_E).view(np.int32)
        # Two zeros of different sign are the same number.
        same |= self.after_E == logged_E
        # So is NaN, whatever its bits: which of them survive a sum is the processor's affair.
        same |= np.isnan(self.after_E) & np.isnan(logged_E)
        if not self.is_rounded:
            return np.asarray(same)
        with np.errstate(invalid="ignore"):
            reach = np.maximum(np.abs(self.before_E), np.abs(self.after_E)) + np.float32(self.force.rate)
            near = np.abs(self.after_E - logged_E) <= ROUNDINGS * np.spacing(reach)
        return np.asarray(same | near)


def rule_in_force(config: Mapping[str, Any] | None, step: int, stated: str = "") -> RuleInForce | str:
    """The rule that moved the bias after `step`; or one sentence that says why it cannot be recomputed.

    config: `RunConfig.to_dict()`, or whatever another trainer keeps there. stated: the text form of the rule
    in run.json, which counts where `config` does not hold the balancer's settings.
    """
    balancer = stated_balancer(config or {}, stated)
    if balancer is None:
        text = f"“{stated}” is not the text form of a rule" if stated else "run.json does not state a rule"
        return (
            f"The configuration in run.json does not hold the balancer's settings, and {text} such as "
            "loss_free:u=0.001, so the step cannot be recomputed."
        )
    rules = balancer.rules_at(step)
    moving = [rule for rule in rules if rule.moves_bias]
    if not moving:
        return f"No rule moved a bias at step {step}: the balancer was “{label_rules(rules)}”."
    rule = moving[0]
    if isinstance(rule, Smebu):
        return (
            f"The rule “{rule.label}” adds momentum from earlier steps, which is not recorded, so the step "
            "cannot be worked out from its own counts."
        )
    if isinstance(rule, Quantile):
        return (
            f"The rule “{rule.label}” reads the scores of all tokens of a step, which are not kept; from the "
            "counts alone its bias cannot be recomputed."
        )
    if not isinstance(rule, LossFree):
        return f"The rule “{rule.label}” is not one of those whose steps can be recomputed from the counts."
    if rule.load_ema:
        return (
            f"This rule reads a running mean of the counts with memory {rule.load_ema:g}, which is not "
            "recorded, so the step cannot be recomputed from its own counts."
        )
    if rule.scope != "global_batch":
        return (
            f"The rule “{rule.label}” reads the counts of single groups of tokens, of which only the sum is "
            "recorded, so the step cannot be recomputed."
        )
    return RuleInForce(
        rule=rule,
        updates=step - _since(balancer, step) + 1,
        is_frozen=is_frozen(rule.freeze_after_step, step),
        restarts=bias_form(balancer.rules_at(step + 1)) != bias_form(rules),
    )


def stated_balancer(config: Mapping[str, Any], stated: str) -> BalancerConfig | None:
    """The rules of a run: of its configuration, or of the text that states them; None where neither does."""
    # Without the section there would be defaults, and those are a guess.
    if "balancer" in config:
        with suppress(ConfigError, KeyError, TypeError, ValueError):
            return RunConfig.from_dict(dict(config)).balancer
    if not stated:
        return None
    try:
        return BalancerConfig.parse(arm_kind(stated)[1])
    except ConfigError:
        return None


def _since(balancer: BalancerConfig, step: int) -> int:
    """The step from which the rules of `step` are in force."""
    return max((change.step for change in balancer.schedule if change.step <= step), default=0)


def recompute(force: RuleInForce, tokens_E: Counts, before_E: Floats) -> BiasStep:
    """The update b + u · direction, with the trainer's float32 operations in the same order."""
    tokens = np.asarray(tokens_E, dtype=np.int64)
    before = np.asarray(before_E, dtype=np.float32)
    error = load_error(tokens, np.float32)
    direction, rms, centre = bias_direction(error, force.rule.update_rule, centred=force.rule.centred)
    # Frozen, the trainer adds nothing at all.
    after = before if force.is_frozen else before + np.float32(force.rate) * direction
    return BiasStep(
        force=force,
        tokens_E=tokens,
        before_E=before,
        error_E=error,
        direction_E=direction,
        root_mean_square=None if rms is None else float(rms[0]),
        centre=None if centre is None else float(centre[0]),
        after_E=after,
    )
