"""The balancing strategies. A router chooses, gates weigh, a balancer updates: three places.

A strategy may add a loss per layer (with gradient, through the scores) and may move the selection
bias once per optimizer step (without gradient, from integer counts). The strategies of a run are
combined; the objective adds, for each, the sum over layers of coefficient times loss.

Notation: N experts, K chosen per token, T tokens, c_i assignments, s_{i,t} unbiased scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explorer.balancing import bias_delta, neutral_bias
from explorer.model.router import Routing, sequence_counts
from explorer.rules import AuxLoss, LossFree, Rule, SequenceAuxLoss, ZLoss


@dataclass(frozen=True)
class LayerBatch:
    """One layer's routing of one micro-batch, as a strategy sees it."""

    routing: Routing
    counts_BE: Tensor
    """Assignments per sequence under the routing that was used, int64."""
    step_counts_E: Tensor | None = None
    """Assignments of the whole optimizer step, where they are known to differ from this micro-batch's."""
    earlier_counts_E: Tensor | None = None
    """Assignments of the micro-batches of this step that came before this one."""
    expert_bias_E: Tensor | None = None
    """The bias that chose."""
    router_weight_ED: Tensor | None = None
    """The router's matrix, with gradient."""


def balance_loss(
    scores_TE: Tensor,
    counts_BE: Tensor,
    *,
    scope: str,
    score_norm: str = "l1",
    step_counts_E: Tensor | None = None,
) -> Tensor:
    """Σ_i f_i · P_i with f_i = N/(K·T) · c_i and P_i = mean_t s_{i,t}: 1 at balance, for any K.

    Switch (arXiv 2101.03961, eq. 4) and GShard generalised to K. f comes from integer counts and carries no
    gradient; P is taken over all experts before any top-K mask and carries it all. `l1` divides
    each token's scores by their sum first (DeepSeek-V3, eq. 19), `raw` does not (arXiv
    2408.15664, section 2.2, with a sigmoid gate: the loss then also falls when all scores shrink).

    scope: sequence = one loss per sequence, averaged; micro_batch = f over this micro-batch;
    global_batch = f over the whole optimizer step (`step_counts_E`, or this micro-batch if it is
    the step). Returns a scalar.
    """
    num_sequences, num_experts = counts_BE.shape
    scores_BSE = scores_TE.view(num_sequences, -1, num_experts)
    if score_norm == "l1":
        scores_BSE = scores_BSE / scores_BSE.sum(-1, keepdim=True).clamp_min(1e-20)
    mean_BE = scores_BSE.mean(1)
    if scope == "sequence":
        return (_relative_load(counts_BE) * mean_BE).sum(-1).mean()
    counts_E = counts_BE.sum(0)
    if scope == "global_batch" and step_counts_E is not None:
        counts_E = step_counts_E
    return (_relative_load(counts_E) * mean_BE.mean(0)).sum()


def _relative_load(counts: Tensor) -> Tensor:
    """f_i = c_i / mean(c), detached, float32."""
    return (counts * counts.shape[-1] / counts.sum(-1, keepdim=True)).float().detach()


def router_z_loss(router_logits_TE: Tensor) -> Tensor:
    """mean_t (log Σ_i exp logit_{i,t})² (ST-MoE, arXiv 2202.08906, eq. 5)."""
    return router_logits_TE.logsumexp(-1).square().mean()


class Balancer:
    """A strategy that does nothing: the control `none`, and the base of the others."""

    name = "none"
    coeff = 0.0
    is_z_loss = False
    bias_form: str | None = None
    since = 0
    """The step from which it is in force."""

    def __init__(self) -> None:
        self.memory: dict[str, Tensor] = {}
        """What it remembers between steps, by name, [L, E]; part of a checkpoint."""

    def loss(self, batch: LayerBatch) -> Tensor | None:
        """Unscaled loss of one layer and micro-batch, or None."""
        return None

    def observe(self, batch: LayerBatch) -> Tensor | None:
        """What an update needs beside the counts, from one layer of one micro-batch; without gradient."""
        return None

    def pool(self, observed: Sequence[Tensor]) -> Tensor:
        """One tensor of what several micro-batches, or ranks, observed in a layer; sums by default."""
        return torch.stack(list(observed)).sum(0)

    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        """Move the bias [..., E] in place after optimizer step `step`.

        counts: int64 [..., E] of all tokens of the step; observed: per layer, what `pool` returned.
        """

    def rate(self, step: int) -> float | None:
        """u used after `step`, or None."""
        return None


class AuxLossBalancing(Balancer):
    """Auxiliary loss at a chosen count scope; see `balance_loss`."""

    name = "aux_loss"

    def __init__(self, rule: AuxLoss) -> None:
        super().__init__()
        self.rule, self.coeff = rule, rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        return balance_loss(
            batch.routing.scores_TE,
            batch.counts_BE,
            scope=self.rule.scope,
            score_norm=self.rule.score_norm,
            step_counts_E=batch.step_counts_E,
        )


class SequenceLossBalancing(Balancer):
    """DeepSeek-V3's complementary sequence-wise loss (arXiv 2412.19437, eq. 17-20).

    f counts the top-K of the *unbiased* scores, whatever the bias chose; P from L1-normalised scores.
    """

    name = "seq_aux"

    def __init__(self, rule: SequenceAuxLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        scores = batch.routing.scores_TE
        top_k = batch.routing.topk_expert_ids_TK.shape[1]
        unbiased_TK = scores.detach().topk(top_k, dim=-1).indices
        num_sequences, num_experts = batch.counts_BE.shape
        counts_BE = sequence_counts(unbiased_TK, num_sequences, num_experts)
        return balance_loss(scores, counts_BE, scope="sequence", score_norm="l1")


class LossFreeBalancing(Balancer):
    """Auxiliary-loss-free balancing (arXiv 2408.15664, Algorithm 1); see `explorer.balancing`.

    Departures: the proportional rule uses the relative violation, since the paper leaves its unit
    open. `freeze_after_step` is DeepSeek-V3's u = 0 at the end of training.
    """

    name = "loss_free"

    def __init__(self, rule: LossFree) -> None:
        super().__init__()
        self.rule = rule
        self.bias_form = rule.bias_form

    def rate(self, step: int) -> float:
        frozen = self.rule.freeze_after_step is not None and step >= self.rule.freeze_after_step
        return 0.0 if frozen else self.rule.bias_update_rate

    @torch.no_grad()
    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        rate = self.rate(step)
        if rate == 0.0:
            return
        delta = bias_delta(
            counts,
            update_rule=self.rule.update_rule,
            bias_update_rate=rate,
            centred=self.rule.centred,
        )
        expert_bias += delta.to(expert_bias.dtype)


class ZLossBalancing(Balancer):
    """Router z-loss: keeps logits small; it balances nothing and is logged apart."""

    name = "z_loss"
    is_z_loss = True

    def __init__(self, rule: ZLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        return router_z_loss(batch.routing.router_logits_TE)


BALANCERS: dict[type[Rule], Callable[[Any], Balancer]] = {
    AuxLoss: AuxLossBalancing,
    SequenceAuxLoss: SequenceLossBalancing,
    LossFree: LossFreeBalancing,
    ZLoss: ZLossBalancing,
}
"""The strategy of every rule."""


def make_balancer(rule: Rule) -> Balancer:
    """The strategy that a rule configures."""
    return BALANCERS[type(rule)](rule)


@dataclass(frozen=True)
class LayerLosses:
    """What the strategies add for one layer and micro-batch; scalars, or None."""

    objective: Tensor | None = None
    """Σ coefficient · loss, with gradient."""
    aux: Tensor | None = None
    """Unscaled auxiliary loss, detached."""
    z: Tensor | None = None
    """Unscaled z-loss, detached."""


class CombinedBalancer:
    """The strategies in force, as one."""

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
        return any(isinstance(b, AuxLossBalancing) and b.rule.scope == "global_batch" for b in self.balancers)

    @property
    def neutral_bias(self) -> float:
        return neutral_bias(self.bias_form or "additive")

    def losses(self, batch: LayerBatch) -> LayerLosses:
        objective = aux = z = None
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
        return LayerLosses(objective, aux, z)

    def observe(self, batch: LayerBatch) -> Tensor | None:
        """What the rule that moves the bias wants to know of this layer and micro-batch."""
        for balancer in self.balancers:
            if balancer.bias_form:
                return balancer.observe(batch)
        return None

    def pool(self, observed: Sequence[Tensor]) -> Tensor:
        """One tensor of what several micro-batches or ranks observed in a layer."""
        return next(b for b in self.balancers if b.bias_form).pool(observed)

    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        """Move the bias, [E] or [L, E], in place: once, after optimizer step `step`.

        counts: int64, of all micro-batches and ranks. observed: per layer, what `pool` returned.
        """
        for balancer in self.balancers:
            balancer.update(expert_bias, counts, step, observed)

    def rate(self, step: int) -> float | None:
        """u used after `step`, or None."""
        rates = [r for r in (b.rate(step) for b in self.balancers) if r is not None]
        return rates[0] if rates else None

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """What the strategies remember between steps, by their name; part of a checkpoint."""
        return {balancer.name: balancer.memory for balancer in self.balancers}

    def recall(self, memory: Mapping[str, dict[str, Tensor]]) -> None:
        """Take back what a checkpoint kept."""
        for balancer in self.balancers:
            balancer.memory = dict(memory.get(balancer.name, {}))
