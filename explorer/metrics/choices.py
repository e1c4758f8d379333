"""Metrics of token selections. Expert numbers belong to one layer of one run.

A choice is [..., T, K] expert numbers of T tokens, in any order; a number outside 0 ... E - 1 is an empty
slot (dropped, or a routing that gives tokens fewer experts). Duplicates within a token count once.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import over_total

Counts = NDArray[np.int64]


def _member(choice: ArrayLike, num_experts: int) -> NDArray[np.bool_]:
    """Whether a token has selected an expert, [..., T, K] -> [..., T, E]."""
    slots = np.asarray(choice, dtype=np.int64)
    filled = (slots >= 0) & (slots < num_experts)
    member = np.zeros((*slots.shape[:-1], num_experts + 1), dtype=bool)
    np.put_along_axis(member, np.where(filled, slots, num_experts), True, axis=-1)
    return member[..., :num_experts]


def churn(before: ArrayLike, after: ArrayLike, num_experts: int) -> NDArray[np.float64]:
    """Share of the slots whose expert changed,
    1 - sum_t |A_t & B_t| / sum_t max(|A_t|, |B_t|).

    before, after: [..., T, K] choices of the same tokens. Returns [...]: 0 when nothing changed, 1 when
    no token kept an expert; two independent uniform choices give 1 - K/N. NaN without a slot.
    """
    first, second = _member(before, num_experts), _member(after, num_experts)
    num_common = (first & second).sum((-2, -1))
    slots = np.maximum(first.sum(-1), second.sum(-1)).sum(-1)
    return 1.0 - over_total(num_common, slots)


def saturation(choice: ArrayLike, final: ArrayLike, num_experts: int) -> NDArray[np.float64]:
    """Share of the final choice that is already present: sum_t |A_t & F_t| / sum_t |F_t|.

    choice, final: [..., T, K] of the same tokens, `final` by the last checkpoint. Returns [...]: 1 at the
    end; two independent uniform choices give K/N. NaN when the final choice is empty.
    Source: OLMoE, arXiv 2409.02060, section 5.1 (router saturation).
    """
    now, end = _member(choice, num_experts), _member(final, num_experts)
    return over_total((now & end).sum((-2, -1)), end.sum((-2, -1)))


def coactivation(choice: ArrayLike, num_experts: int) -> Counts:
    """Number of tokens that chose both experts of every pair, [..., T, K] -> [..., E, E], symmetric.

    All pairs count, not neighbours in a sorted list only (P31). The diagonal holds the tokens of
    each expert, so row i divided by it is P(j | i); independent choices give (K - 1)/(N - 1).
    Source: OLMoE, arXiv 2409.02060, section 5.2.
    """
    return cross_activation(choice, choice, num_experts, num_experts)


def cross_activation(first: ArrayLike, second: ArrayLike, num_first: int, num_second: int) -> Counts:
    """Number of tokens that chose expert i in one layer and j in another, [..., T, K] twice -> [..., E, E'].

    All K x K' pairs of a token count, not equal slots only (P31). Row i sums to K' times the tokens of i;
    independent layers give every j the same share, K'/N'. Expert numbers of two layers are unrelated.
    """
    one, other = _member(first, num_first), _member(second, num_second)
    # float32 holds every count of up to 2^24 tokens, and is multiplied a hundred times as fast.
    kind = np.float32 if one.shape[-2] <= 1 << 24 else np.float64
    return np.asarray((np.swapaxes(one, -1, -2).astype(kind) @ other.astype(kind)).round(), dtype=np.int64)
