"""The loss-free update rules as pure functions of counts: arrays in, arrays out.

The model calls them with torch tensors, the simulator and the tests with numpy arrays; only
arithmetic that both share is used. E is the last axis.

Sources: Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
arXiv 2408.15664, Algorithm 1 and section 4.3 (proportional and multiplicative variants); for the
quantile rules see `required_bias`.
"""

from typing import Any, NamedTuple

import numpy as np

UPDATE_RULES = ("sign", "proportional", "rms")
ROUNDING = 2.0**-50
"""Relative load errors of averages below this times E are treated as rounding."""


def load_error(counts: Any, dtype: Any = None) -> Any:
    """Relative violation e_i = (mean(c) - c_i) / mean(c), [..., E] -> [..., E]; positive = underloaded.

    The paper defines e_i in tokens and leaves the unit of the proportional rule open; relative
    errors make u independent of the batch size. Sign and RMS rules do not depend on the unit.
    Counts may be of any integer type; zero counts everywhere give zero error. Averages of counts
    (float64) are accepted too: the scale cancels. `dtype`: of the quotient, for numpy arrays;
    integers are exact until then.
    """
    counts = _signed(counts)
    total = counts.sum(-1)[..., None]
    num_experts = counts.shape[-1]
    # mean - c = (total - E c) / E: the numerator stays an exact integer, so that exactly average
    # load gives exactly zero for counts of any size.
    excess, total = total - counts * num_experts, total + (total == 0)
    error = excess / total if dtype is None else excess.astype(dtype) / total.astype(dtype)
    return error if _is_whole(counts) else error * (abs(error) > ROUNDING * num_experts)


def _signed(counts: Any) -> Any:
    """Integers as int64: unsigned or narrow ones would wrap around, which flips the sign."""
    if hasattr(counts, "astype"):
        return counts.astype("int64") if counts.dtype.kind in "biu" else counts
    return counts if counts.is_floating_point() else counts.long()


def _is_whole(values: Any) -> bool:
    """Whether the type is an integer type."""
    if hasattr(values, "astype"):
        return bool(values.dtype.kind in "biu")
    return not values.is_floating_point()


def decayed_rate(rate: float, step_decay: str, updates: int) -> float:
    """The step size of the n-th update, n from 1: constant u, sqrt u / √n, harmonic u / n.

    The step sizes named in arXiv 2512.03915; its constants were not available to us. n counts the
    optimizer steps since the rule came into force, so that no state is needed.
    """
    if step_decay == "constant":
        return rate
    return rate / (updates**0.5 if step_decay == "sqrt" else updates)


def is_frozen(freeze_after_step: int | None, step: int) -> bool:
    """Whether a rule with this setting no longer moves the bias after `step`."""
    return freeze_after_step is not None and step >= freeze_after_step


def sign(values: Any) -> Any:
    """-1, 0 or +1, for numpy arrays (in their own type) and torch tensors (float32) alike."""
    one = values.dtype.type(1) if hasattr(values, "astype") else 1.0
    return (values > 0) * one - (values < 0) * one


def bias_delta(counts: Any, *, update_rule: str, bias_update_rate: float, centred: bool = False) -> Any:
    """The bias update of one optimizer step, [..., E] -> [..., E].

    sign          u · sign(e)                    Algorithm 1; a bias at exactly average load stays
    proportional  u · e                          e relative to the mean load
    rms           u · e / RMS(e)                 the sign rule's magnitude without its jitter (Su 2026)

    Overloaded experts (e < 0) go down. `centred` subtracts the mean of the delta, as torchtitan
    and Ling do: the selection is unchanged, and the biases do not drift together.
    """
    return bias_update_rate * bias_direction(load_error(counts), update_rule, centred=centred).values


class Direction(NamedTuple):
    """The direction that is multiplied by u, with the intermediate results of its computation."""

    values: Any
    """[..., E]"""
    root_mean_square: Any = None
    """RMS(e) [..., 1] where the rule divides by it."""
    centre: Any = None
    """The mean [..., 1] that was subtracted, where the rule is centred."""


def bias_direction(error: Any, update_rule: str, *, centred: bool = False) -> Direction:
    """The direction of `bias_delta` for relative errors e [..., E], in their own precision."""
    values, root, centre = error, None, None
    if update_rule == "sign":
        values = sign(error)
    elif update_rule == "rms":
        mean_square = (error * error).mean(-1)[..., None]
        root = (mean_square + (mean_square == 0)) ** 0.5
        values = error / root
    elif update_rule != "proportional":
        raise ValueError(f"update_rule = {update_rule!r}: must be one of {', '.join(UPDATE_RULES)}")
    if centred:
        centre = values.mean(-1)[..., None]
        values = values - centre
    return Direction(values, root, centre)


def soft_clamped(error: Any, sharpness: float) -> Any:
    """SMEBU's direction: tanh(κ e) minus its mean over the experts, [..., E] -> [..., E].

    κ large: the centred sign rule; κ small: κ times the proportional one. Source: arXiv 2602.17004, in
    secondary texts.
    """
    scaled = error * sharpness
    clamped = np.tanh(scaled) if hasattr(scaled, "astype") else scaled.tanh()
    return clamped - clamped.mean(-1)[..., None]


def with_momentum(previous: Any, move: Any, momentum: float) -> Any:
    """The next move of a bias: β · (the move before) + (1 - β) · (the move without momentum), [..., E]."""
    return momentum * previous + (1 - momentum) * move


def neutral_bias(bias_form: str) -> float:
    """The bias that changes nothing: 0 if added to the scores, 1 if they are multiplied by it."""
    return 1.0 if bias_form == "multiplicative" else 0.0


def biased_scores(scores: Any, bias: Any, bias_form: str, out: Any = None) -> Any:
    """The scores compared in the top-K, [T, E]: s + b, or s · b; used for selection only.

    out: a numpy array for the result, to reuse memory between calls.
    """
    if out is not None:
        return (np.multiply if bias_form == "multiplicative" else np.add)(scores, bias, out=out)
    return scores * bias if bias_form == "multiplicative" else scores + bias


def required_bias(scores: Any, bias: Any, top_k: int, *, clipped: bool = False) -> Any:
    """r_ij = α_i - s_ij: the bias that expert j needs to be selected by token i, [..., T, E] -> [..., T, E].

    α_i is the (K+1)-th largest of s + b of token i, so with the bias in force exactly K experts of a
    token have r < b (ties aside). `clipped`: α at least 0, the multiplier of "at most K experts per token".

    Source: the dual of the balanced assignment problem, max Σ s x with Σ_j x_ij = K for every token and
    Σ_i x_ij = KT/N for every expert; α and -b are its multipliers. Equalities: Su, "MoE 6: optimal
    allocation" (2026), and Kimi K3's report, section 2.3.3; inequalities: BIP (arXiv 2502.15451).
    """
    cutoff = _kth_largest(scores + bias[..., None, :], top_k + 1)
    if clipped:
        cutoff = cutoff.clip(0)
    return cutoff - scores


def balanced_rank(total: Any, num_experts: int) -> Any:
    """q = ⌊KT/N⌋, an expert's even share of `total` = KT assignments, rounded down."""
    return total // num_experts


def quantile_bias(required: Any, rank: int) -> Any:
    """The (q+1)-th smallest required bias of each expert, [..., T, E] -> [..., E].

    With this bias and fixed cut-offs, q tokens have r < b and select the expert. It is -quantile_{1-K/N} of
    s - α: the minimum of the dual in b_j. Where N does not divide KT, q is rounded down (Megatron-LM
    rejects such sizes). For the (K+1)-th expert of a token r = b exactly. So only overloaded experts
    go down, and at balance no bias moves if every expert is some token's (K+1)-th.
    """
    if hasattr(required, "astype"):
        work = required.copy()
        work.partition(rank, axis=-2)
        return work[..., rank, :]
    return required.kthvalue(rank + 1, dim=-2).values


def bin_range(bias: Any, *, reach: float = 1.0) -> tuple[Any, Any]:
    """(lowest, width of all bins): [min b - 1, max b + 1] holds every r, if scores lie in [0, 1].

    `reach`: the length of the interval in which the scores lie, where it is not 1.

    Source: Kimi K3's report, appendix D. [..., E] -> two of [..., 1]. The bias does not change within an
    optimizer step, so micro-batches and ranks fill the same bins.
    """
    lowest = -_kth_largest(-bias, 1) - reach
    return lowest, _kth_largest(bias, 1) + reach - lowest


def bin_ids(required: Any, bias: Any, num_bins: int, *, reach: float = 1.0) -> Any:
    """Which of `num_bins` equal bins each r falls in, [..., T, E] int64; beyond the ends: the end bins."""
    lowest, width = bin_range(bias, reach=reach)
    place = (required - lowest[..., None, :]) * (num_bins / width[..., None, :])
    place = place.clip(0, num_bins - 1)
    return place.astype("int64") if hasattr(place, "astype") else place.long()


def binned_quantile_bias(histogram: Any, bias: Any, rank: Any, *, reach: float = 1.0) -> Any:
    """`quantile_bias` from counts of the bins, [..., E, M] -> [..., E].

    rank: q, a number or [..., 1]. It lies in the bin of the exact value, so it is off by less than a bin,
    (max b - min b + 2) / M; after subtracting means by less than two. Within the bin, the c values are
    assumed evenly spread: the i-th of them (from 0) at (i + ½) / c.
    """
    num_bins = histogram.shape[-1]
    deep = rank if isinstance(rank, int) else rank[..., None]
    reached = histogram.cumsum(-1)
    lower = reached <= deep
    index, below = lower.sum(-1).clip(0, num_bins - 1), (histogram * lower).sum(-1)
    inside = (histogram * (~lower & (reached - histogram <= deep))).sum(-1)
    lowest, width = bin_range(bias, reach=reach)
    return lowest + (index + (rank - below + 0.5) / inside.clip(1)) * (width / num_bins)


def linear_quantile_bias(histogram: Any, bias: Any, target: Any, *, reach: float = 1.0) -> Any:
    """The (K/N)-quantile of each expert's required bias from counts of the bins, [..., E, M] -> [..., E].

    target: n = K T / N, not rounded, a number or [..., 1]. The bin is the first whose cumulative count
    reaches n, and its c values fill it evenly from edge to edge: the n-th lies (n - values below) / c inside.

    Source: torchtitan's quantile balancer (pull request 4577) and Megatron-LM's global-batch estimator
    (6637), both after Kimi K3's report, appendix D. Equal to the expected values of torchtitan's own test;
    no release of it has the router yet, so that test is all of it that runs here.
    """
    num_bins = histogram.shape[-1]
    reached = histogram.cumsum(-1)
    lower = reached < (target if isinstance(target, int | float) else target[..., None])
    index, below = lower.sum(-1).clip(0, num_bins - 1), (histogram * lower).sum(-1)
    inside = _values_at(histogram, index)
    lowest, width = bin_range(bias, reach=reach)
    part = (target - below) / inside.clip(1)
    return lowest + (index + part) * (width / num_bins)


def blended(bias: Any, target: Any, ema: float) -> Any:
    """ema · b + (1 - ema) · target, minus its mean over the experts (Megatron-LM's form of the EMA)."""
    mixed = ema * bias + (1 - ema) * target
    return mixed - mixed.mean(-1)[..., None]


def _values_at(values: Any, index: Any) -> Any:
    """values[..., index], [..., M] and [...] -> [...]."""
    if hasattr(values, "astype"):
        return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return values.gather(-1, index[..., None])[..., 0]


def _kth_largest(values: Any, k: int) -> Any:
    """[..., E] -> [..., 1], k from 1."""
    if hasattr(values, "astype"):
        work, place = values.copy(), values.shape[-1] - k
        work.partition(place, axis=-1)
        return work[..., place : place + 1]
    return values.topk(k, dim=-1).values[..., k - 1 :]
