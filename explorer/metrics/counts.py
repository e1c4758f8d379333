"""Balance metrics of one layer, computed from integer counts, one function each.

Every function takes counts [..., E] (E routed experts on the last axis, those without a token included)
and returns [...]. N is E in the formulas, f_i = c_i / sum(c) the load fraction, K the experts per token.
"At one hot" means that all tokens take the same K experts, which is the worst that top-K routing can do.
Where nothing was routed at all a ratio is NaN: undefined, and it says so.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ratio = NDArray[np.float64]


def checked(counts: ArrayLike) -> NDArray[np.int64]:
    """The counts as int64. Raises TypeError for anything but integers."""
    array = np.asarray(counts)
    if array.dtype.kind not in "iu":
        raise TypeError(f"counts must be integers, not {array.dtype}: ratios are derived on reading")
    return array.astype(np.int64, copy=False)


def over_total(part: NDArray[Any], total: NDArray[Any]) -> Ratio:
    """part / total, NaN where the total is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, part / total, np.nan))


def _excess(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """N c_i - sum(c): how far each load lies from the mean, times N, still an integer."""
    return np.asarray(array * array.shape[-1] - array.sum(-1, keepdims=True))


def load_fraction(counts: ArrayLike) -> Ratio:
    """f_i = c_i / sum(c): sums to 1 over the experts, 1/N each at balance. [..., E] -> [..., E]."""
    array = checked(counts)
    return over_total(array, array.sum(-1, keepdims=True))


def max_over_mean(counts: ArrayLike) -> Ratio:
    """max_i c_i / mean(c): the busiest expert's load in shares. 1 ... N; 1 at balance, N/K at one hot.

    MaxVio + 1. OLMo-core calls it load imbalance, TensorRT-LLM and plumb-moe print it too.
    """
    array = checked(counts)
    return over_total(array.max(-1) * array.shape[-1], array.sum(-1))


def max_vio(counts: ArrayLike) -> Ratio:
    """Maximal violation, max_i c_i / mean(c) - 1. 0 ... N - 1; 0 at balance, N/K - 1 at one hot.

    Source: Loss-Free Balancing, arXiv 2408.15664, section 4.1.
    """
    return max_over_mean(counts) - 1.0


def balance_efficiency(counts: ArrayLike) -> Ratio:
    """mean(c) / max_i c_i = 1 / (1 + MaxVio): the utilisation of the average expert while all wait for the
    busiest. 1/N ... 1; 1 at balance, K/N at one hot.

    Source: SGLang and vLLM ("balancedness"), there over devices and not experts.
    """
    array = checked(counts)
    return over_total(array.sum(-1), array.max(-1) * array.shape[-1])


def coefficient_of_variation(counts: ArrayLike) -> Ratio:
    """Standard deviation over mean (divided by N, not N - 1). 0 ... sqrt(N - 1); 0 at balance,
    sqrt(N/K - 1) at one hot. Its square is N sum f_i^2 - 1.

    Source: Shazeer et al. 2017, arXiv 1701.06538 (CV squared as the importance loss).
    """
    array = checked(counts)
    return over_total(np.sqrt((_excess(array).astype(np.float64) ** 2).mean(-1)), array.sum(-1))


def total_variation(counts: ArrayLike) -> Ratio:
    """1/2 sum_i |f_i - 1/N|: the share of the assignments that would have to move to another expert
    for balance. 0 ... 1 - 1/N; 0 at balance, 1 - K/N at one hot.

    Source: ShinkaEvolve, arXiv 2509.19349 (L_imb).
    """
    array = checked(counts)
    # Half of the distances are above the mean, so no division by two can round.
    above = np.maximum(_excess(array), 0).sum(-1)
    return over_total(above, array.sum(-1) * array.shape[-1])


def load_entropy(counts: ArrayLike) -> Ratio:
    """Shannon entropy -sum f ln f in nats; an idle expert adds nothing. 0 ... ln N; ln N at balance,
    ln K at one hot. Source: Shannon 1948.
    """
    fraction = load_fraction(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(fraction > 0, fraction * np.log(fraction), np.where(np.isnan(fraction), np.nan, 0.0))
    return np.asarray(-terms.sum(-1) + 0.0)


def normalised_entropy(counts: ArrayLike) -> Ratio:
    """Load entropy / ln N, so that layers of different width compare. 0 ... 1; 1 at balance,
    ln K / ln N at one hot. 1 for a single expert.
    """
    array = checked(counts)
    most = np.log(array.shape[-1])
    entropy = load_entropy(array)
    return entropy / most if most > 0 else entropy + 1.0


def effective_experts(counts: ArrayLike) -> Ratio:
    """exp(load entropy): how many equally loaded experts would be as diverse. 1 ... N; N at balance,
    K at one hot. Source: the perplexity of the loads; Automodel prints it over N as expert diversity.
    """
    return np.exp(load_entropy(counts))


def gini(counts: ArrayLike) -> Ratio:
    """Gini coefficient sum_i (2 i - N - 1) c_(i) / (N sum c), loads sorted upwards, i from 1: the mean
    difference of two experts over twice the mean. 0 ... 1 - 1/N; 0 at balance, 1 - K/N at one hot.

    Source: Gini 1912; for experts e.g. arXiv 2506.21328.
    """
    array = np.sort(checked(counts), axis=-1)
    experts = array.shape[-1]
    weights = 2 * np.arange(1, experts + 1) - experts - 1
    return over_total((array * weights).sum(-1), array.sum(-1) * experts)


def idle_experts(counts: ArrayLike) -> NDArray[np.int64]:
    """How many experts have no token at all. 0 ... N; 0 at balance, N - K at one hot.

    Idle is about one step; an expert that stays so is dead (`dead_experts`).
    """
    return np.asarray((checked(counts) == 0).sum(-1))
