"""The running mean of the counts that a loss-free rule with `load_ema` uses. It is not recorded, but follows
from the recorded counts of every step since the rule came into force.

L layers, E experts. The precision is that of training: float64 for the mean, float32 for the bias.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from explorer.config.rule_text import LossFree
from explorer.config.run import BalancerConfig
from explorer.routing.balancing import bias_delta, decayed_rate
from explorer.routing.bias_step import ROUNDINGS

Floats = NDArray[np.float32]
GAP = "The rule reads a running mean of the counts, and a step since it came into force was not recorded."


@dataclass(frozen=True, kw_only=True)
class MeanUpdate:
    """One update of a layer's bias from a running mean. Arrays are [E]."""

    before_E: Floats
    after_E: Floats
    rate: float

    @classmethod
    def none(cls, before_E: Floats) -> Self:
        """The update of a frozen rule: the bias stays."""
        return cls(before_E=before_E, after_E=before_E, rate=0.0)

    def equals(self, logged_E: Floats) -> NDArray[np.bool_]:
        """[E] whether it matches the logged bias within rounding: sums of fractions depend on order."""
        with np.errstate(invalid="ignore"):
            reach = np.maximum(np.abs(self.before_E), np.abs(self.after_E)) + np.float32(self.rate)
            return np.asarray(np.abs(self.after_E - logged_E) <= ROUNDINGS * np.spacing(reach))


@dataclass
class RunningMean:
    """m_n = β m_{n-1} + c_n, up to a scale that no update rule depends on; for all layers at once."""

    balancer: BalancerConfig
    _last_step: int = -2
    _mean_LE: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def read(self, rule: LossFree, step: int, tokens_LE: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The mean after `step`, [L, E]; None after a step without counts. Steps come in ascending order."""
        since = max((change.step for change in self.balancer.schedule if change.step <= step), default=0)
        if step == since:
            self._mean_LE = tokens_LE.astype(np.float64)
        elif step == self._last_step + 1:
            self._mean_LE = rule.load_ema * self._mean_LE + tokens_LE
        else:
            return None
        self._last_step = step
        return self._mean_LE

    def update(self, rule: LossFree, step: int, mean_E: NDArray[np.float64], before_E: Floats) -> MeanUpdate:
        """The update of one layer's bias after `step`."""
        since = max((change.step for change in self.balancer.schedule if change.step <= step), default=0)
        rate = decayed_rate(rule.bias_update_rate, rule.step_decay, step - since + 1)
        delta_E = bias_delta(
            mean_E, update_rule=rule.update_rule, bias_update_rate=rate, centred=rule.centred
        )
        return MeanUpdate(before_E=before_E, after_E=before_E + delta_E.astype(np.float32), rate=rate)
