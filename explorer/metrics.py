"""Every figure that the project reports, defined once.

All functions take integer counts and return plain numbers or numpy arrays. Counts are
token-to-expert assignments; the last axis is always the expert axis and includes experts that
received nothing. Layers are measured one by one and then averaged, never pooled: pooling lets two
layers that collapse onto different experts look balanced.

E routed experts (N in the papers), K experts per token, T tokens, L layers.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LAST_STEPS = 100
COLLAPSE_STEPS = 100


def _counts(counts: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(counts)
    if array.dtype.kind not in "iu":
        raise TypeError(f"counts must be integers, not {array.dtype}: ratios are derived on reading")
    return array.astype(np.int64, copy=False)


def max_vio(counts: ArrayLike) -> NDArray[np.float64]:
    """Maximal violation, max_i c_i / mean(c) - 1 (Loss-Free Balancing, arXiv 2408.15664, section 4.1).

    counts: [..., E] integers. Returns [...]: 0 at equal loads, E/K - 1 when every token takes the
    same K experts, NaN where nothing was routed at all (undefined, and it says so).
    """
    array = _counts(counts)
    total = array.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, array.max(-1) * array.shape[-1] / total - 1.0, np.nan)


def load_fraction(counts: ArrayLike) -> NDArray[np.float64]:
    """c / sum(c): sums to 1 over the experts, ideal 1/E. [..., E] -> [..., E]."""
    array = _counts(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(array / array.sum(-1, keepdims=True))


def load_entropy(counts: ArrayLike) -> NDArray[np.float64]:
    """Shannon entropy of the load fractions in nats, [..., E] -> [...]; ln E at balance."""
    fraction = load_fraction(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(fraction > 0, fraction * np.log(fraction), np.where(np.isnan(fraction), np.nan, 0.0))
    return np.asarray(-terms.sum(-1) + 0.0)


def effective_experts(counts: ArrayLike) -> NDArray[np.float64]:
    """exp(load entropy): how many equally loaded experts would be as diverse. 1 ... E."""
    return np.exp(load_entropy(counts))


def collapsed_steps(
    effective: ArrayLike, num_experts: int, window: int = COLLAPSE_STEPS
) -> NDArray[np.bool_]:
    """Where a layer counts as collapsed: effective experts <= E/2 for `window` steps in a row.

    effective: [S] per step. Returns [S] booleans, true on every step of such a stretch.
    """
    low = np.asarray(effective) <= num_experts / 2
    result = np.zeros(low.shape, dtype=bool)
    start = None
    for index, is_low in enumerate([*low.tolist(), False]):
        if is_low and start is None:
            start = index
        elif not is_low and start is not None:
            if index - start >= window:
                result[start:index] = True
            start = None
    return result


def last_steps(num_steps: int) -> int:
    """How many final steps `max_vio_batch` averages: 100, or the last quarter if that is fewer."""
    return max(1, min(LAST_STEPS, num_steps // 4))


def max_vio_batch(counts: ArrayLike, num_steps: int | None = None) -> float:
    """Mean over the last 100 steps (the last quarter if fewer) of MaxVio per layer, averaged over layers.

    counts: [S, L, E], one row a training step, in order; with `num_steps`, the last rows of a run
    of that length.
    """
    return float(max_vio_batch_by_layer(counts, num_steps).mean())


def max_vio_batch_by_layer(counts: ArrayLike, num_steps: int | None = None) -> NDArray[np.float64]:
    """As `max_vio_batch`, one number a layer. counts: [S, L, E] -> [L]."""
    array = _counts(counts)
    return np.asarray(max_vio(array[-last_steps(num_steps or len(array)) :]).mean(0))


def max_vio_global(counts: ArrayLike) -> float:
    """MaxVio of final held-out counts with the bias frozen, averaged over layers. counts: [L, E]."""
    return float(max_vio(counts).mean())


def worst_layer(counts: ArrayLike) -> tuple[int, float]:
    """The layer with the highest MaxVio and its value; an average can hide it. counts: [L, E]."""
    violation = max_vio(counts)
    layer = int(np.nanargmax(violation))
    return layer, float(violation[layer])


def mean_loss(losses: Mapping[str, float]) -> float:
    """Held-out language loss in nats per token, every domain weighing the same."""
    return float(np.mean(list(losses.values())))


def perplexity(losses: Mapping[str, float]) -> float:
    """exp of the mean held-out language loss, domains weighted equally; auxiliary terms never enter."""
    return math.exp(mean_loss(losses))


def bits_per_byte(loss: float, num_tokens: int, num_bytes: int) -> float:
    """Nats per token -> bits per byte, which is comparable between tokenizers."""
    return loss * num_tokens / (num_bytes * math.log(2))


@lru_cache(maxsize=512)
def uniform_reference(
    num_experts: int, top_k: int, num_tokens: int, num_layers: int = 1, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """MaxVio that uniform-random routing of independent tokens would show: (mean, 95th percentile).

    Every token picks K distinct experts at random. The violation is averaged over `num_layers`
    independent layers, as the reported figure is: the mean does not depend on that, the
    percentile does. Simulated and cached.
    """
    if top_k == num_experts or num_tokens == 0:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    loads = _random_loads(rng, num_experts, top_k, num_tokens, draws * num_layers)
    mean = num_tokens * top_k / num_experts
    violation = (loads.max(-1) / mean - 1).reshape(draws, num_layers).mean(-1)
    return float(violation.mean()), float(np.percentile(violation, 95))


def _random_loads(
    rng: np.random.Generator, num_experts: int, top_k: int, num_tokens: int, draws: int
) -> NDArray[np.float64]:
    """Loads under uniform-random routing, [draws, E].

    Exact while the K-subsets can be listed: how often each is picked is multinomial. Beyond
    that every expert's load is drawn from its exact binomial and the draws are centred and
    scaled, which gives the exact covariance v·(N·I - 11ᵀ)/(N - 1), v = T·K/N·(1 - K/N).
    """
    if math.comb(num_experts, top_k) <= 300:
        subsets = np.array(list(combinations(range(num_experts), top_k)))
        member = np.zeros((len(subsets), num_experts))
        member[np.arange(len(subsets))[:, None], subsets] = 1
        picked = rng.multinomial(num_tokens, np.full(len(subsets), 1 / len(subsets)), size=draws)
        return np.asarray(picked @ member)
    share = top_k / num_experts
    loads = rng.binomial(num_tokens, share, size=(draws, num_experts)).astype(np.float64)
    scale = math.sqrt(num_experts / (num_experts - 1))
    return np.asarray(num_tokens * share + scale * (loads - loads.mean(-1, keepdims=True)))


def uniform_guide(num_experts: int, top_k: int, num_tokens: int) -> float:
    """Closed-form upper guide to `uniform_reference`: sqrt(2 ln N · N/(KT) · (1 - K/N))."""
    share = top_k / num_experts
    return math.sqrt(2 * math.log(num_experts) / (num_tokens * share) * (1 - share))


def resampled_reference(
    sequence_counts: ArrayLike,
    sequences: int,
    strata: Sequence[object] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """MaxVio that sampling alone would show if every expert's expected load were exactly equal,
    given that whole sequences arrive together: (mean, 95th percentile).

    sequence_counts: [R, L, E], recorded loads of R sequences. `sequences` of them are drawn with
    replacement (within `strata`, e.g. domains, when a batch is balanced over them) and each
    expert's load is divided by its own expectation, which removes the run's real imbalance and
    leaves the clustering. Experts without any recorded load are left out. Averaged over layers.
    """
    array = _counts(sequence_counts).astype(np.float64)
    rng = np.random.default_rng(seed)
    labels = np.asarray([0] * len(array) if strata is None else [str(s) for s in strata])
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = np.array([len(g) for g in groups]) / len(array)
    sizes = np.floor(shares * sequences).astype(int)
    sizes[: sequences - sizes.sum()] += 1
    expected = sum(size * array[group].mean(0) for size, group in zip(sizes, groups, strict=True))
    violation = np.empty(draws)
    for draw in range(draws):
        picked = np.concatenate([rng.choice(group, size) for size, group in zip(sizes, groups, strict=True)])
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(expected > 0, array[picked].sum(0) / expected, np.nan)
        violation[draw] = (np.nanmax(ratio, -1) - 1).mean()
    return float(violation.mean()), float(np.percentile(violation, 95))


# Two-sided 97.5 % points of Student's t for 1 ... 30 degrees of freedom (then the normal's):
# small enough to write down, which keeps SciPy out of the command line's start-up.
_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and half width of the 95 % t interval; None for fewer than two values.

    For paired seeds, give the differences.
    """
    count = len(values)
    if count < 2:
        return None
    freedom = count - 1
    quantile = _T975[freedom - 1] if freedom <= len(_T975) else 1.96 + 2.42 / freedom
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(quantile * array.std(ddof=1) / math.sqrt(count))


def is_resolved(interval: tuple[float, float] | None) -> bool:
    """Whether a paired difference is told apart from zero at 95 %."""
    return interval is not None and abs(interval[0]) > interval[1]
