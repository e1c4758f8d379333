"""Batch-aware choice of experts on recorded scores: full routing, a smaller top-k, OEA and Lynx.

Shapes: N batches of B tokens, E experts, K experts per token. In decode the time of a layer grows with the
number of *distinct* experts of the batch, since each must be loaded once. All policies here are open-loop:
they choose on scores that the model recorded under full routing, so no error reaches a later layer.

A policy returns a mask, bool [N, B, E]: the experts of each token. `ranks` are a token's experts by
preference, 0 for the best (`preference_ranks` of the values that the router compares).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LynxKnobs:
    """Settings of Lynx (arXiv 2411.08982). Its authors publish neither alpha, beta nor the cut-off."""

    alpha: float = 1.0
    """Bins per unit of logit difference: a bin is 1 / alpha wide."""
    beta: int = 4
    """Number of bins below the first choice; larger differences share the last."""
    keep: float = 0.5
    """Share of the experts of full routing that is kept: this stands for the unpublished cut-off."""


@dataclass(frozen=True, kw_only=True)
class LatencyModel:
    """Time of a layer in units of b: a × assignments + b × distinct experts (OEA, arXiv 2511.02237)."""

    per_assignment: float = 0.005
    """a / b: time to compute one token in one expert, over the time to load one expert from memory.

    In bf16 it does not depend on the expert's size: memory bandwidth over arithmetic rate, 4.8 TB/s over
    989 TFLOP/s (NVIDIA's data sheet of the H200), is 0.0049.
    """

    def of(self, mask_NBE: Mask) -> Floats:
        """Time of each batch, [N]."""
        return np.asarray(self.per_assignment * mask_NBE.sum((-2, -1)) + distinct_experts(mask_NBE))


def preference_ranks(compared_NBE: ArrayLike) -> Ranks:
    """Rank of every expert for its token, from 0; equal values go to the lower index."""
    order = np.argsort(-np.asarray(compared_NBE), axis=-1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
    return ranks


def static_top_k(ranks_NBE: Ranks, k: int) -> Mask:
    """Every token's k best experts; with k = K this is full routing."""
    return np.asarray(ranks_NBE < k)


def best_among(ranks_NBE: Ranks, allowed_NE: Mask, top_k: int) -> Mask:
    """Every token's K best experts among those that its batch allows; fewer where fewer are allowed."""
    order = np.argsort(ranks_NBE, axis=-1)
    usable = np.take_along_axis(np.broadcast_to(allowed_NE[:, None, :], order.shape), order, -1)
    taken = usable & (np.cumsum(usable, axis=-1) <= top_k)
    mask = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(mask, order, taken, axis=-1)
    return mask


def oea(ranks_NBE: Ranks, top_k: int, k0: int) -> Mask:
    """OEA (arXiv 2511.02237): a token keeps its k0 best, then fills up to K from what the batch has kept."""
    union = np.asarray((ranks_NBE < k0).any(-2))
    return best_among(ranks_NBE, union, top_k)


def lynx(ranks_NBE: Ranks, logits_NBE: ArrayLike, top_k: int, knobs: LynxKnobs) -> Mask:
    """Lynx (arXiv 2411.08982, version 3): K experts per token from the experts that the batch scores highest.

    Differences to the logit of the first choice are binned; an expert scores B^bin summed over the tokens,
    so one token's first choice outweighs every token's next bin. The highest-scored experts are kept, as many
    as `keep` says and at least K, and beside them the first choice of every token whose second choice lies
    in a lower bin.

    Nothing is published about equal scores: they go to the expert with the lower sum of ranks, then to the
    lower index, so that without a bias a token alone keeps its own experts (as in `tasks.selection.Lynx`).
    """
    allowed_NE = kept_experts(ranks_NBE, logits_NBE, top_k, knobs)
    return best_among(ranks_NBE, allowed_NE, top_k)


def kept_experts(ranks_NBE: Ranks, logits_NBE: ArrayLike, top_k: int, knobs: LynxKnobs) -> Mask:
    """The experts that Lynx keeps for each batch, [N, E]."""
    bins = affinity_bins(ranks_NBE, logits_NBE, knobs)
    batch = max(2, ranks_NBE.shape[-2])
    score = (float(batch) ** bins).sum(-2)
    full = distinct_experts(static_top_k(ranks_NBE, top_k))
    number = np.maximum(top_k, np.ceil(knobs.keep * full - 1e-9)).astype(np.int64)
    order = np.lexsort((ranks_NBE.sum(-2), -score), axis=-1)
    highest = np.argsort(order, axis=-1) < number[:, None]
    second = np.where(ranks_NBE == 1, bins, -knobs.beta).max(-1)
    is_sure = (second < 0) & (ranks_NBE.shape[-1] > 1)
    sure_choice = (ranks_NBE == 0) & is_sure[..., None]
    return np.asarray(highest | sure_choice.any(-2))


def affinity_bins(ranks_NBE: Ranks, logits_NBE: ArrayLike, knobs: LynxKnobs) -> Floats:
    """Bin of every expert, 0 for the first choice down to -beta: floor(alpha × logit difference), [N, B, E].

    Where a bias made an expert with a lower logit the first choice, larger logits count as equal to it.
    """
    logits = np.asarray(logits_NBE, dtype=np.float64)
    first = np.take_along_axis(logits, ranks_NBE.argmin(-1)[..., None], -1)
    return np.clip(np.floor(knobs.alpha * (logits - first)), -knobs.beta, 0)


def distinct_experts(mask_NBE: Mask) -> NDArray[np.int64]:
    """Experts with at least one token in each batch, [N]."""
    return np.asarray(mask_NBE.any(-2).sum(-1))


def mixture(scores_NBE: ArrayLike, mask_NBE: Mask) -> Floats:
    """Weights of the chosen experts, [N, B, E], sum 1 for each token; even where all their scores are 0."""
    weights = np.asarray(scores_NBE, dtype=np.float64) * mask_NBE
    total = weights.sum(-1, keepdims=True)
    even = mask_NBE / np.maximum(mask_NBE.sum(-1, keepdims=True), 1)
    return np.where(total > 0, weights / np.where(total > 0, total, 1.0), even)


def divergence(first: Floats, second: Floats) -> Floats:
    """Jensen-Shannon divergence of two mixtures, nats, [..., E] twice -> [...]: 0 … ln 2.

    The mean Kullback-Leibler divergence to their midpoint. The plain one would be infinite as soon as a
    policy drops an expert.
    """
    middle = (first + second) / 2
    return (_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2


def _relative_entropy(of: Floats, to: Floats) -> Floats:
    positive = of > 0
    ratio = np.where(positive, of, 1.0) / np.where(positive, to, 1.0)
    return np.asarray((of * np.log(ratio)).sum(-1))


def kept_max_vio(mask_NBE: Mask) -> Floats:
    """MaxVio of each batch among the experts that it uses, [N]: busiest over their mean load, minus 1."""
    counts = mask_NBE.sum(-2)
    used = (counts > 0).sum(-1)
    return np.asarray(counts.max(-1) * used / np.maximum(counts.sum(-1), 1) - 1.0)


def expected_distinct(num_experts: int, top_k: int, batch: int) -> float:
    """Expected distinct experts of a batch under uniform-random routing, E (1 - (1 - K / E)^B)."""
    return num_experts * (1.0 - (1.0 - top_k / num_experts) ** batch)
