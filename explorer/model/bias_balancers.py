"""Strategies that move the selection bias: no loss, no gradient, once per optimizer step.

The arithmetic is in `explorer.routing.balancing`, shared with the simulator. Counts are int64; the
bias is float32.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from explorer.config.rules import Bip, LossFree, MovingQuantile, Quantile
from explorer.model.balancer import Balancer, LayerBatch
from explorer.model.moving_quantile import moving_quantiles
from explorer.routing.balancing import (
    balanced_rank,
    bias_delta,
    bias_direction,
    bin_ids,
    binned_quantile_bias,
    blended,
    decayed_rate,
    is_frozen,
    linear_quantile_bias,
    load_error,
    quantile_bias,
    required_bias,
)


class LossFreeBalancing(Balancer):
    """Auxiliary-loss-free balancing (arXiv 2408.15664, Algorithm 1); see `explorer.routing.balancing`.

    Departures: the proportional rule uses the relative violation, since the paper leaves its unit open.
    `freeze_after_step` is DeepSeek-V3's u = 0 at the end of training (arXiv 2412.19437, section 4.2).

    `step_decay`: u_n with n = step - since + 1. Freezing does not stop n, since no update follows it.
    `load_ema` = β: the update reads m_n = β m_{n-1} + c_n, m_0 = 0, in float64. That is the exponential mean
    with its start corrected, m_n (1 - β) / (1 - β^n), times a number that is the same for all experts, and no
    update rule depends on the scale of the counts. So the first update uses the counts alone, and with β = 0
    only int64 counts are read. A frozen rule leaves its state unchanged. Neither paper uses this average; it
    is a common stabiliser (φ-balancing, arXiv 2605.15403, has its own).

    `scope`: sequence and micro_batch take the direction of each sequence or micro-batch from its own counts,
    and the bias moves by u times their mean. It is the counterpart of the scopes of an auxiliary loss for a
    rule that keeps one bias for all tokens. The proportional direction is linear in the counts, so all its
    scopes agree. The sign is not: an expert that is idle in most sequences and overloaded in a few goes up.
    """

    name = "loss_free"

    def __init__(self, rule: LossFree) -> None:
        super().__init__()
        self.rule = rule
        self.bias_form = rule.bias_form

    def rate(self, step: int) -> float:
        if is_frozen(self.rule.freeze_after_step, step):
            return 0.0
        return decayed_rate(self.rule.bias_update_rate, self.rule.step_decay, step - self.since + 1)

    @torch.no_grad()
    def observe(self, batch: LayerBatch) -> Tensor | None:
        """Σ of the directions of sequences or micro-batches, and how many there are, float64 [2, E]."""
        if self.rule.scope == "global_batch":
            return None
        counts_GE = batch.counts_BE
        if self.rule.scope == "micro_batch":
            counts_GE = counts_GE.sum(0, keepdim=True)
        error_GE = load_error(counts_GE)
        sum_E = (
            bias_direction(error_GE, self.rule.update_rule, centred=self.rule.centred).values.double().sum(0)
        )
        return torch.stack([sum_E, torch.full_like(sum_E, len(counts_GE))])

    @torch.no_grad()
    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        rate = self.rate(step)
        if rate == 0.0:
            return
        if self.rule.scope != "global_batch":
            if observed is not None:
                # One layer at a time if the bias is that of a single layer.
                sums = torch.stack(list(observed)) if expert_bias.ndim == 2 else observed[0]
                expert_bias += (rate * sums[..., 0, :] / sums[..., 1, :]).to(expert_bias.dtype)
            return
        delta = bias_delta(
            self._read(counts),
            update_rule=self.rule.update_rule,
            bias_update_rate=rate,
            centred=self.rule.centred,
        )
        expert_bias += delta.to(expert_bias.dtype)

    def _read(self, counts: Tensor) -> Tensor:
        """The counts, or their running mean up to scale."""
        if self.rule.load_ema == 0.0:
            return counts
        mean = self.memory.get("mean_counts")
        fresh = counts.double()
        self.memory["mean_counts"] = fresh if mean is None else self.rule.load_ema * mean + fresh
        return self.memory["mean_counts"]


class QuantileBalancing(Balancer):
    """Quantile balancing: the bias that would have balanced this step, applied in the next.

    α_i = (K+1)-th largest of s_i + b;  b̂_j = -quantile_{1-K/N}(s_:j - α);  b ← b̂ - mean(b̂).

    One sweep of exact coordinate minimisation of the dual of the balanced assignment problem; the sign
    rule is a sign descent on the same function, so there is no step size. Sources: Su, "MoE 6: optimal
    allocation" (kexue.fm 11619, 2026); Kimi K3's report, section 2.3.3 and appendix D (histogram of 1000
    bins, integer counts summed over micro-batches and ranks); Megatron-LM's `quantile_balancing` (memory
    of the bias, mean subtracted, no auxiliary loss beside it). All known from secondary texts.

    `num_bins` = 0 keeps every r of the step instead, which is exact and costs T·E numbers per layer; it reads
    one number back from the device, so the host waits for a GPU. Departures: Megatron-LM's first form
    averages quantiles of micro-batches, which is not the quantile of the step, and requires that N divide
    K·T, where we round the share down. Frozen (`freeze_after_step`), the bias stays, as at inference.
    """

    name = "quantile"
    bias_form = "additive"
    clipped = False
    reach = 1.0
    """Length of the interval in which the scores lie."""

    def __init__(self, rule: Quantile) -> None:
        super().__init__()
        self.rule = rule

    @torch.no_grad()
    def observe(self, batch: LayerBatch) -> Tensor:
        """Counts of the bins [E, M] int64, or every required bias [T, E]."""
        bias_E, routing = batch.expert_bias_E, batch.routing
        assert bias_E is not None
        # Noise changes the compared scores, and their cut-offs are the ones that count.
        scores_TE = routing.scores_TE.detach() if routing.choosing_TE is None else routing.choosing_TE
        top_k = routing.topk_expert_ids_TK.shape[1]
        required_TE: Tensor = required_bias(scores_TE, bias_E, top_k, clipped=self.clipped)
        num_bins = self.rule.num_bins
        if not num_bins:
            return required_TE
        ids_ET = bin_ids(required_TE, bias_E, num_bins, reach=self.reach).T.contiguous()
        counts_EM = torch.zeros(len(ids_ET), num_bins, dtype=torch.int64, device=ids_ET.device)
        return counts_EM.scatter_add_(1, ids_ET, torch.ones_like(ids_ET))

    def pool(self, observed: Sequence[Tensor]) -> Tensor:
        """Sum the bins [E, M]; concatenate exact values [T, E] along T."""
        return super().pool(observed) if self.rule.num_bins else torch.cat(list(observed))

    @torch.no_grad()
    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        if is_frozen(self.rule.freeze_after_step, step) or observed is None:
            return
        # One layer at a time if the bias is that of a single layer.
        seen = torch.stack(list(observed)) if expert_bias.ndim == 2 else observed[0]
        expert_bias.copy_(self.mixed(expert_bias, self.target(expert_bias, counts, seen)))

    def target(self, expert_bias: Tensor, counts: Tensor, seen: Tensor) -> Tensor:
        """b̂ [..., E] of the step, in score units.

        expert_bias: the bias in force and counts: int64, both [..., E]; seen: [..., E, M] or [..., T, E].
        """
        share = balanced_rank(counts.sum(-1, keepdim=True), counts.shape[-1])
        if self.rule.estimator == "linear":
            target = counts.sum(-1, keepdim=True).double() / counts.shape[-1]
            linear: Tensor = linear_quantile_bias(seen, expert_bias, target, reach=self.reach)
            return linear.to(expert_bias.dtype)
        if self.rule.num_bins:
            binned: Tensor = binned_quantile_bias(seen, expert_bias, share, reach=self.reach)
            return binned
        exact: Tensor = quantile_bias(seen, int(share.flatten()[0]))
        return exact

    def mixed(self, expert_bias: Tensor, target: Tensor) -> Tensor:
        """The next bias, from the one in force and the step's target: [..., E], in score units."""
        bias: Tensor = blended(expert_bias, target, self.rule.bias_ema)
        return bias


class BipBalancing(QuantileBalancing):
    """BIP balancing (arXiv 2502.15451): the same problem with "at most" in both constraints.

    max Σ s x with Σ_j x_ij ≤ K and Σ_i x_ij ≤ KT/N. Multipliers of inequalities are not negative:
    p_i = max(0, (K+1)-th largest of s_i - q),  q_j = max(0, (KT/N + 1)-th largest of s_:j - p),  b = -q.
    So the bias only ever pushes overloaded experts down; it never raises an idle expert.

    Departures: the paper runs these two lines several times on each batch before it routes that same
    batch; we run them once per optimizer step, from the bias in force, and use the result in the next
    step, as `quantile` does: a token is never routed by scores of tokens that follow it. Bins and
    memory are those of `quantile`. The bias is not centred: zero has a meaning here.
    """

    name = "bip"
    clipped = True

    def __init__(self, rule: Bip) -> None:
        super().__init__(rule)

    def mixed(self, expert_bias: Tensor, target: Tensor) -> Tensor:
        return torch.lerp(target.clamp_max(0), expert_bias, self.rule.bias_ema)


class MovingQuantileBalancing(QuantileBalancing):
    """Moving quantile balancing: quantile balancing of scores levelled within each sequence.

    ŝ_ij = s_ij - λ β_ij, β the moving quantile of the sequence so far (`moving_quantiles`); tokens take the
    top K of ŝ + b, and b solves for balance of the step's ŝ as in `quantile`. λ = 0 is `quantile`. Gates
    use s. As part of the selection, β acts in evaluation too.

    Source: Su, "MoE 8" (kexue.fm 11760), in secondary texts: the levelled scores, one step of global
    quantile balancing after them, and λ (1: loss 0.06 higher; about 0.3: no cost). The start of the
    sequence is ours, see `moving_quantiles`. The count of switched assignments is that of b alone.
    """

    name = "mqb"

    def __init__(self, rule: MovingQuantile) -> None:
        super().__init__(rule)
        self.moving = rule
        self.reach = 1.0 + rule.sequence_strength

    def adjust(self, num_sequences: int, top_k: int) -> Callable[[Tensor], Tensor] | None:
        rule = self.moving

        def level(scores_TE: Tensor) -> Tensor:
            moving_TE = moving_quantiles(
                scores_TE, num_sequences, top_k, decay=rule.decay, num_bins=rule.score_bins
            )
            return scores_TE - rule.sequence_strength * moving_TE

        return level if rule.sequence_strength else None
