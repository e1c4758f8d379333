"""The balancing strategies. Selection, gating and balancing are three separate places.

A strategy may add a loss per layer (with gradient, through the scores) and may move the selection
bias once per optimizer step (without gradient, from integer counts). The strategies of a run are
combined; the objective adds, for each, the sum over layers of coefficient times loss.

Notation: N experts, K per token, T tokens, c_i assignments, s_{i,t} unbiased scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from explorer.config.rules import (
    AuxLoss,
    Bip,
    GShardLoss,
    LossFree,
    MovingQuantile,
    Quantile,
    Rule,
    SequenceAuxLoss,
    SimBal,
    Smebu,
    SwitchLoss,
    ZLoss,
)
from explorer.model.balancer import Balancer as Balancer
from explorer.model.balancer import LayerBatch as LayerBatch
from explorer.model.bias_balancers import BipBalancing as BipBalancing
from explorer.model.bias_balancers import LossFreeBalancing as LossFreeBalancing
from explorer.model.bias_balancers import MovingQuantileBalancing as MovingQuantileBalancing
from explorer.model.bias_balancers import QuantileBalancing as QuantileBalancing
from explorer.model.loss_balancers import AuxLossBalancing as AuxLossBalancing
from explorer.model.loss_balancers import GShardLossBalancing as GShardLossBalancing
from explorer.model.loss_balancers import SequenceLossBalancing as SequenceLossBalancing
from explorer.model.loss_balancers import SimBalBalancing as SimBalBalancing
from explorer.model.loss_balancers import SwitchLossBalancing as SwitchLossBalancing
from explorer.model.loss_balancers import ZLossBalancing as ZLossBalancing
from explorer.model.loss_balancers import balance_loss as balance_loss
from explorer.model.loss_balancers import router_z_loss as router_z_loss
from explorer.model.momentum_balancer import SmebuBalancing as SmebuBalancing
from explorer.routing.balancing import neutral_bias

BALANCERS: dict[type[Rule], Callable[[Any], Balancer]] = {
    AuxLoss: AuxLossBalancing,
    SequenceAuxLoss: SequenceLossBalancing,
    LossFree: LossFreeBalancing,
    ZLoss: ZLossBalancing,
    SwitchLoss: SwitchLossBalancing,
    GShardLoss: GShardLossBalancing,
    SimBal: SimBalBalancing,
    Quantile: QuantileBalancing,
    Bip: BipBalancing,
    MovingQuantile: MovingQuantileBalancing,
    Smebu: SmebuBalancing,
}
"""The strategy of every rule."""


def make_balancer(rule: Rule) -> Balancer:
    """The strategy that a rule configures."""
    return BALANCERS[type(rule)](rule)


@dataclass(frozen=True)
class LayerLosses:
    """Losses that the strategies add for one layer and micro-batch; scalars, or None."""

    objective: Tensor | None = None
    """Σ coefficient · loss, with gradient."""
    aux: Tensor | None = None
    """Unscaled auxiliary loss, detached."""
    z: Tensor | None = None
    """Unscaled z-loss, detached."""
    auxiliary: Tensor | None = None
    """Σ coefficient · loss without the z-loss, with gradient; read by the gradient probe."""


class CombinedBalancer:
    """The strategies in force, combined into one."""

    def __init__(self, rules: Sequence[Rule], since: int = 0) -> None:
        """`since`: the step from which these rules are in force."""
        self.balancers = [make_balancer(rule) for rule in rules]
        for balancer in self.balancers:
            balancer.since = since
        forms = [b.bias_form for b in self.balancers if b.bias_form]
        self.bias_form: str | None = forms[0] if forms else None

    @property
    def uses_bias(self) -> bool:
        return self.bias_form is not None

    @property
    def needs_step_counts(self) -> bool:
        """Whether a loss needs the counts of the whole step before the first backward pass."""
        return any(b.needs_step_counts for b in self.balancers)

    @property
    def neutral_bias(self) -> float:
        return neutral_bias(self.bias_form or "additive")

    def losses(self, batch: LayerBatch) -> LayerLosses:
        objective = auxiliary = aux = z = None
        for balancer in self.balancers:
            loss = balancer.loss(batch)
            if loss is None:
                continue
            scaled = balancer.coeff * loss
            objective = scaled if objective is None else objective + scaled
            if balancer.is_z_loss:
                z = loss.detach()
            else:
                aux = loss.detach() if aux is None else aux + loss.detach()
                auxiliary = scaled if auxiliary is None else auxiliary + scaled
        return LayerLosses(objective, aux, z, auxiliary)

    def adjust(self, num_sequences: int, top_k: int) -> Callable[[Tensor], Tensor] | None:
        """The bias rule's transform of the selection scores, [T, E] -> [T, E]; or None."""
        adjusts = (b.adjust(num_sequences, top_k) for b in self.balancers if b.bias_form)
        return next(adjusts, None)

    def observe(self, batch: LayerBatch) -> Tensor | None:
        """The bias rule's observation of this layer and micro-batch, see `Balancer.observe`; or None."""
        for balancer in self.balancers:
            if balancer.bias_form:
                return balancer.observe(batch)
        return None

    def pool(self, observed: Sequence[Tensor]) -> Tensor:
        """Combine a layer's observations over micro-batches or ranks into one tensor; see `Balancer.pool`."""
        return next(b for b in self.balancers if b.bias_form).pool(observed)

    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        """Move the bias, [E] or [L, E], in place: once, after optimizer step `step`.

        counts: int64, of all micro-batches and ranks. observed: per layer, the result of `pool`.
        """
        for balancer in self.balancers:
            balancer.update(expert_bias, counts, step, observed)

    def rate(self, step: int) -> float | None:
        """u used after `step`, or None."""
        rates = [r for r in (b.rate(step) for b in self.balancers) if r is not None]
        return rates[0] if rates else None

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """State [L, E] kept between steps, by strategy and name; part of a checkpoint."""
        return {balancer.name: balancer.memory for balancer in self.balancers}

    def recall(self, memory: Mapping[str, dict[str, Tensor]]) -> None:
        """Restore the state [L, E] from a checkpoint, by strategy and name; what it lacks starts afresh."""
        for balancer in self.balancers:
            balancer.memory = dict(memory.get(balancer.name, {}))
