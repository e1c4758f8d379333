"""What rules remember between steps: the running mean of the counts (`load_ema`), and SMEBU's last move.

Neither is recorded, but both follow from the recorded counts of every step since the rule came into force.

L layers, E experts. The precision is that of training: float64 for the mean, float32 for the bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from explorer.config.rule_text import LossFree, Smebu
from explorer.config.run import BalancerConfig
from explorer.routing.balancing import bias_delta, decayed_rate, load_error, soft_clamped, with_momentum
from explorer.routing.bias_step import ROUNDINGS

Floats = NDArray[np.float32]
GAP = "The rule remembers the counts of earlier steps, and a step since it came into force was not recorded."


@dataclass(frozen=True, kw_only=True)
class MeanUpdate:
    """One update of a layer's bias by a rule that remembers earlier steps. Arrays are [E]."""

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
        if step == _since(self.balancer, step):
            self._mean_LE = tokens_LE.astype(np.float64)
        elif step == self._last_step + 1:
            self._mean_LE = rule.load_ema * self._mean_LE + tokens_LE
        else:
            return None
        self._last_step = step
        return self._mean_LE

    def update(self, rule: LossFree, step: int, mean_E: NDArray[np.float64], before_E: Floats) -> MeanUpdate:
        """The update of one layer's bias after `step`."""
        updates = step - _since(self.balancer, step) + 1
        rate = decayed_rate(rule.bias_update_rate, rule.step_decay, updates)
        delta_E = bias_delta(
            mean_E, update_rule=rule.update_rule, bias_update_rate=rate, centred=rule.centred
        )
        return MeanUpdate(before_E=before_E, after_E=before_E + delta_E.astype(np.float32), rate=rate)


@dataclass
class RunningMove:
    """SMEBU's m_n = β m_{n-1} + (1 - β) u d_n, what it adds to the bias; by layer."""

    balancer: BalancerConfig
    _last_step: int = -2
    _moves: list[NDArray[np.float64]] = field(default_factory=list)

    def read(
        self, rule: Smebu, step: int, tokens: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.float64]] | None:
        """The move after `step`, [E] per layer; None after a step without counts. Steps come in ascending
        order.

        tokens: [E] per layer.
        """
        if step == _since(self.balancer, step):
            self._moves = [np.zeros(len(tokens_E)) for tokens_E in tokens]
        elif step != self._last_step + 1:
            return None
        self._last_step = step
        fresh = [rule.bias_update_rate * soft_clamped(load_error(one), rule.sharpness) for one in tokens]
        self._moves = [
            with_momentum(move_E, fresh_E, rule.momentum)
            for move_E, fresh_E in zip(self._moves, fresh, strict=True)
        ]
        return self._moves


def _since(balancer: BalancerConfig, step: int) -> int:
    """The step from which the rules of `step` are in force."""
    return max((change.step for change in balancer.schedule if change.step <= step), default=0)
