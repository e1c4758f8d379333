"""Strategies that add a loss, with gradient, to the objective.

Notation: N experts, K chosen per token, T tokens, c_i assignments, s_{i,t} unbiased scores.
"""

from torch import Tensor

from explorer.model.balancer import Balancer, LayerBatch
from explorer.model.router import sequence_counts
from explorer.rules import AuxLoss, SequenceAuxLoss, ZLoss


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


class AuxLossBalancing(Balancer):
    """Auxiliary loss at a chosen count scope; see `balance_loss`."""

    name = "aux_loss"

    def __init__(self, rule: AuxLoss) -> None:
        super().__init__()
        self.rule, self.coeff = rule, rule.coeff
        self.needs_step_counts = rule.scope == "global_batch"

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


class ZLossBalancing(Balancer):
    """Router z-loss: keeps logits small; it balances nothing and is logged apart."""

    name = "z_loss"
    is_z_loss = True

    def __init__(self, rule: ZLoss) -> None:
        super().__init__()
        self.coeff = rule.coeff

    def loss(self, batch: LayerBatch) -> Tensor:
        return router_z_loss(batch.routing.router_logits_TE)
