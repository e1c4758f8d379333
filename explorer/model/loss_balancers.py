"""Strategies that add a loss, with gradient, to the objective.

Notation: N experts, K per token, T tokens, c_i assignments, s_{i,t} unbiased scores.
"""

import torch
from torch import Tensor

from explorer.config.rules import AuxLoss, GShardLoss, SequenceAuxLoss, SimBal, SwitchLoss, ZLoss
from explorer.model.balancer import Balancer, LayerBatch
from explorer.model.router import sequence_counts, unbiased_top_k


def balance_loss(
    scores_TE: Tensor,
    counts_BE: Tensor,
    *,
    scope: str,
    score_norm: str = "l1",
    step_counts_E: Tensor | None = None,
    earlier_counts_E: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Σ_i f_i · P_i with f_i = N/(K·T) · c_i and P_i = mean_t s_{i,t}: 1 at balance, for any K.

    Switch (arXiv 2101.03961, eq. 4) and GShard generalised to K. f comes from integer counts and carries no
    gradient; P covers all experts, before any top-K mask, and carries the whole gradient. `l1` divides
    each token's scores by their sum first (DeepSeek-V3, eq. 19), `raw` does not (arXiv
    2408.15664, section 2.2, with a sigmoid gate: the loss then also falls when all scores shrink).

    scope: sequence = one loss per sequence, averaged; micro_batch = f over this micro-batch; shuffled = f
    over as many assignments, drawn from the whole step with `seed` (`sampled_counts`);
    global_batch = f over the whole optimizer step (`step_counts_E`, or this micro-batch if it is
    the step); global_buffered = f over the step's micro-batches so far, this one included
    (`earlier_counts_E` and these), the accumulation buffer of "Demons in the detail" (arXiv 2501.11873,
    section 3): with one micro-batch per step both agree; with more, the first micro-batches see only part of
    the step, so it is a different loss (`explorer.training.gradients` measures by how much).
    Returns a scalar.
    """
    num_sequences, num_experts = counts_BE.shape
    scores_BSE = scores_TE.view(num_sequences, -1, num_experts)
    if score_norm == "l1":
        scores_BSE = scores_BSE / scores_BSE.sum(-1, keepdim=True).clamp_min(1e-20)
    mean_BE = scores_BSE.mean(1)
    if scope == "sequence":
        return (_relative_load(counts_BE) * mean_BE).sum(-1).mean()
    counts_E = counts_BE.sum(0)
    if scope == "shuffled" and step_counts_E is not None:
        counts_E = sampled_counts(step_counts_E, int(counts_E.sum()), seed)
    if scope == "global_batch" and step_counts_E is not None:
        counts_E = step_counts_E
    if scope == "global_buffered" and earlier_counts_E is not None:
        counts_E = counts_E + earlier_counts_E
    return (_relative_load(counts_E) * mean_BE.mean(0)).sum()


def sampled_counts(counts_E: Tensor, number: int, seed: int) -> Tensor:
    """Counts of `number` assignments drawn without replacement, int64 [E].

    A micro-batch of shuffled tokens (arXiv 2501.11873): as few counts as in a micro-batch, as mixed as the
    step. Departure: assignments are drawn singly; there, the experts of a
    token are drawn together. Reads a number back, so the host waits for a GPU.
    """
    generator = torch.Generator(counts_E.device).manual_seed(seed)
    experts_X = torch.arange(len(counts_E), device=counts_E.device).repeat_interleave(counts_E)
    order_X = torch.randperm(len(experts_X), generator=generator, device=counts_E.device)
    return experts_X[order_X[:number]].bincount(minlength=len(counts_E))


def _relative_load(counts: Tensor) -> Tensor:
    """f_i = c_i / mean(c), detached, float32."""
    return (counts * counts.shape[-1] / counts.sum(-1, keepdim=True)).float().detach()


def router_z_loss(router_logits_TE: Tensor) -> Tensor:
    """mean_t (log Σ_i exp logit_{i,t})² (ST-MoE, arXiv 2202.08906, eq. 5), a scalar."""
    return router_logits_TE.logsumexp(-1).square().mean()


class AuxLossBalancing(Balancer):
    """Auxiliary loss at a configurable count scope; see `balance_loss`."""

    name = "aux_loss"

    def __init__(self, rule: AuxLoss) -> None:
        super().__init__()
        self.rule, self.coeff = rule, rule.coeff
        self.needs_step_counts = rule.scope in ("global_batch", "shuffled")

    def loss(self, batch: LayerBatch) -> Tensor:
        return balance_loss(
            batch.routing.scores_TE,
            batch.counts_BE,
            scope=self.rule.scope,
            score_norm=self.rule.score_norm,
            step_counts_E=batch.step_counts_E,
            earlier_counts_E=batch.earlier_counts_E,
            seed=batch.seed,
        )


class SequenceLossBalancing(Balancer):
    """DeepSeek-V3's complementary sequence-wise loss (arXiv 2412.19437, eq. 17-20).

    f counts the top-K of the *unbiased* scores, regardless of the bias; P from L1-normalised scores.
    As in eq. 18 the top-K is over all experts, also where the routing is limited to groups. With
    top-p f counts the unbiased top-p.
    """

    name = "seq_aux"

    def __init__(self, rule: SequenceAuxLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        num_sequences, num_experts = batch.counts_BE.shape
        counts_BE = sequence_counts(unbiased_top_k(batch.routing), num_sequences, num_experts)
        return balance_loss(batch.routing.scores_TE, counts_BE, scope="sequence", score_norm="l1")


def first_choice_counts(scores_TE: Tensor, num_sequences: int) -> Tensor:
    """How often each expert has a token's highest unbiased score, per sequence, int64 [B, E]."""
    return sequence_counts(scores_TE.detach().argmax(-1, keepdim=True), num_sequences, scores_TE.shape[-1])


class SwitchLossBalancing(Balancer):
    """Switch Transformer's loss N · Σ_i f_i · P_i (arXiv 2101.03961, eq. 4-6), times α.

    f_i: share of the micro-batch's tokens whose highest probability is expert i's; P_i: mean
    probability. 1 at balance; N when one expert gets every token with probability 1. With K > 1 f still
    counts first choices only, so imbalance of second choices goes unnoticed.

    Departures: the paper's probabilities are a softmax; another gate's scores are divided by their
    sum. f is taken from the unbiased scores and before any capacity cut, regardless of a bias (P23).
    """

    name = "switch_loss"

    def __init__(self, rule: SwitchLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        scores = batch.routing.scores_TE
        return balance_loss(scores, first_choice_counts(scores, len(batch.counts_BE)), scope="micro_batch")


class GShardLossBalancing(Balancer):
    """GShard's loss: the mean over experts of c_e/S · m_e (arXiv 2006.16668, Algorithm 1), times k.

    A group of S tokens (a sequence, or the whole micro-batch); c_e: tokens whose first choice is expert e,
    counted before the capacity cut and without second choices; m_e: mean gate. As printed
    (`normalisation="paper"`) it is 1/N² at balance and 1/N at collapse, so a given coefficient acts more
    weakly with more experts. The released code (Mesh TensorFlow; st-moe-pytorch after it) multiplies by N²
    (`unit`): 1 at balance and, of one group, the same number as Switch's loss.

    Departures: as in `SwitchLossBalancing`.
    """

    name = "gshard_loss"

    def __init__(self, rule: GShardLoss) -> None:
        super().__init__()
        self.rule, self.coeff = rule, rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        scores = batch.routing.scores_TE
        num_sequences, num_experts = batch.counts_BE.shape
        loss = balance_loss(scores, first_choice_counts(scores, num_sequences), scope=self.rule.scope)
        return loss / num_experts**2 if self.rule.normalisation == "paper" else loss


def orthonormality_loss(router_weight_ED: Tensor) -> Tensor:
    """‖RᵀR - I‖₁, the sum of absolute entries (SimBal, arXiv 2506.14038).

    In the paper R is [D, E] (logits = x R): its columns are the experts' vectors, which are the rows of
    our matrix W = Rᵀ, so RᵀR = W Wᵀ is the [E, E] table of their inner products. 0 when they are
    orthonormal, which needs E <= D. Its gradient is 2 · sign(W Wᵀ - I) W, 0 for an exact entry.
    """
    with torch.autocast(router_weight_ED.device.type, enabled=False):
        weight = router_weight_ED.float()
        gram_EE = weight @ weight.T
        return (gram_EE - torch.eye(len(weight), device=weight.device)).abs().sum()


class SimBalBalancing(Balancer):
    """SimBal: an orthonormality loss on the router's matrix; see `orthonormality_loss`.

    It depends on weights, never on loads: orthogonal experts keep the distances between tokens, so
    tokens that differ get different experts. Nothing is counted, so it has no count scope.

    Departures: the paper starts from an orthogonal matrix. Here all arms start from equal weights
    (normal, `model.init_std`), or they would not be pairs; the loss has to make them orthonormal first.
    The coefficient is ours.
    """

    name = "simbal"

    def __init__(self, rule: SimBal) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor | None:
        weight = batch.router_weight_ED
        return None if weight is None else orthonormality_loss(weight)


class ZLossBalancing(Balancer):
    """Router z-loss: keeps logits small; it balances nothing and is logged apart."""

    name = "z_loss"
    is_z_loss = True

    def __init__(self, rule: ZLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        return router_z_loss(batch.routing.router_logits_TE)
