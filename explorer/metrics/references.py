"""Random-routing baselines: MaxVio by chance alone, the reference lines of every MaxVio chart.

Both are simulated until the standard error of the mean is below `RELATIVE_ERROR`, so that two significant
digits of a metric divided by its baseline do not depend on the random seed.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import checked, over_total

RELATIVE_ERROR = 0.001
"""Maximum relative standard error of a baseline (except for the widest models)."""
MOST_CELLS = 1_500_000
"""Maximum number of loads that `uniform_reference` simulates: a tenth of a second for the widest models."""
MANY = 25
"""Mean load (T K / N) from which loads are drawn from binomials; the mean is then accurate to 0.5 %."""
LISTED_SUBSETS = 300
"""Maximum number of K-subsets of experts that are enumerated."""
MOST_EXACT = 20_000
"""Maximum number of simulated layers with few tokens: each costs more."""
MOST_PICKS = 20_000_000
"""Maximum number of random numbers for drawing token by token."""
MOST_PRODUCTS = 400_000_000
"""Maximum number of multiplications in `resampled_reference`."""
EXACT_SIZES = 6
"""Maximum number of distinct token counts simulated one by one; more are interpolated."""

Band = tuple[float, float]
"""Mean and 95th percentile."""


@lru_cache(maxsize=1024)
def uniform_reference(
    num_experts: int,
    top_k: int,
    num_tokens: int,
    num_layers: int = 1,
    draws: int | None = None,
    seed: int = 0,
) -> Band:
    """MaxVio of uniform-random routing of independent tokens: (mean, 95th percentile).

    Every token picks K distinct experts at random. The violation is averaged over `num_layers`
    independent layers, like the reported metric: the mean does not depend on that, the
    percentile does. Simulated and cached; `draws` (of all layers) defaults to the number needed for
    `RELATIVE_ERROR`, at least 1,000. 0 without randomness: no token, or every token goes to all experts.
    """
    if not _has_chance(num_experts, top_k, num_tokens):
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    first = draws or 1000
    violation = _violations(rng, num_experts, top_k, num_tokens, num_layers, first)
    if draws is None and (needed := _draws_needed(violation)) > first:
        violation = _violations(rng, num_experts, top_k, num_tokens, num_layers, needed)
    return float(violation.mean()), float(np.percentile(violation, 95))


def _has_chance(num_experts: int, top_k: int, num_tokens: int) -> bool:
    """Whether random routing at these sizes can deviate from even routing at all."""
    return num_tokens > 0 and 0 < top_k < num_experts


def _draws_needed(values: NDArray[np.float64]) -> int:
    """Number of such draws that reduces the standard error of their mean to `RELATIVE_ERROR`."""
    mean = float(values.mean())
    return math.ceil((float(values.std(ddof=1)) / (RELATIVE_ERROR * mean)) ** 2) if mean > 0 else 0


def _violations(
    rng: np.random.Generator, num_experts: int, top_k: int, num_tokens: int, num_layers: int, draws: int
) -> NDArray[np.float64]:
    """MaxVio averaged over layers, [draws]."""
    needed = draws * num_layers
    most = max(1000, MOST_CELLS // num_experts)
    if num_tokens * top_k < MANY * num_experts:
        most = min(most, MOST_EXACT)
    if _is_drawn_by_token(num_experts, top_k, num_tokens):
        most = max(300, min(most, MOST_PICKS // (num_tokens * num_experts)))
    simulated = min(needed, most)
    loads = _random_loads(rng, num_experts, top_k, num_tokens, simulated)
    layers = loads.max(-1) / (num_tokens * top_k / num_experts) - 1
    if simulated < needed:
        # Thousands of wide layers are enough to resample the others from.
        layers = rng.choice(layers, needed)
    return np.asarray(layers.reshape(draws, num_layers).mean(-1))


def uniform_references(
    num_experts: int, top_k: int, tokens: Sequence[int], num_layers: int = 1
) -> dict[int, Band]:
    """`uniform_reference` for several numbers of tokens, as with a growing batch size.

    A few distinct numbers are simulated, more are interpolated between powers of √2 (both axes logarithmic:
    the baseline falls about as the inverse root of the tokens).
    """
    sizes = sorted({int(n) for n in tokens if n > 0})
    if len(sizes) <= EXACT_SIZES or not 0 < top_k < num_experts:
        return {n: uniform_reference(num_experts, top_k, n, num_layers) for n in sizes}
    first, last = (2 * math.log2(n) for n in (sizes[0], sizes[-1]))
    grid = sorted({round(2 ** (power / 2)) for power in range(math.floor(first), math.ceil(last) + 1)})
    log_references = np.log([uniform_reference(num_experts, top_k, n, num_layers) for n in grid])
    columns = [np.exp(np.interp(np.log(sizes), np.log(grid), log_references[:, i])) for i in (0, 1)]
    return {n: (float(mean), float(p95)) for n, mean, p95 in zip(sizes, *columns, strict=True)}


def _random_loads(
    rng: np.random.Generator, num_experts: int, top_k: int, num_tokens: int, draws: int
) -> NDArray[np.float64]:
    """Loads under uniform-random routing, [draws, E].

    Exact for small loads: how often each K-subset is picked is multinomial, and where there are too many
    subsets to list, every token draws its own. From a mean load of `MANY`, every expert's load is drawn from
    its exact binomial and the draws are centred and scaled, which gives the exact covariance v·(N·I - 11ᵀ)/(N
    - 1), v = T·K/N·(1 - K/N).
    """
    share = top_k / num_experts
    if num_tokens * share >= MANY:
        loads = rng.binomial(num_tokens, share, size=(draws, num_experts)).astype(np.float64)
        scale = math.sqrt(num_experts / (num_experts - 1))
        return np.asarray(num_tokens * share + scale * (loads - loads.mean(-1, keepdims=True)))
    if not _is_drawn_by_token(num_experts, top_k, num_tokens):
        subsets = np.array(list(combinations(range(num_experts), top_k)))
        member = np.zeros((len(subsets), num_experts))
        member[np.arange(len(subsets))[:, None], subsets] = 1
        picked = rng.multinomial(num_tokens, np.full(len(subsets), 1 / len(subsets)), size=draws)
        return np.asarray(picked @ member)
    loads = np.empty((draws, num_experts))
    for row in loads:  # one at a time: all at once would exhaust memory
        order = rng.random((num_tokens, num_experts), dtype=np.float32).argpartition(top_k - 1, -1)
        row[:] = np.bincount(order[:, :top_k].ravel(), minlength=num_experts)
    return loads


def _is_drawn_by_token(num_experts: int, top_k: int, num_tokens: int) -> bool:
    many = num_tokens * top_k >= MANY * num_experts
    return not many and math.comb(num_experts, top_k) > LISTED_SUBSETS


def uniform_guide(num_experts: int, top_k: int, num_tokens: int) -> float:
    """Closed-form upper guide to `uniform_reference`: sqrt(2 ln N · N/(KT) · (1 - K/N)).

    0 without randomness.
    """
    if not _has_chance(num_experts, top_k, num_tokens):
        return 0.0
    share = top_k / num_experts
    return math.sqrt(2 * math.log(num_experts) / (num_tokens * share) * (1 - share))


def resampled_reference(
    sequence_counts: ArrayLike,
    sequences: int,
    strata: Sequence[object] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> Band:
    """MaxVio from sampling alone if every expert's expected load were exactly equal,
    given that tokens come in whole sequences: (mean, 95th percentile).

    sequence_counts: [R, L, E], recorded loads of R sequences. `sequences` of them are drawn with replacement
    (within `strata`, e.g. domains, when a batch is balanced over them) and each expert's load is divided by
    its own expectation, which removes the run's real imbalance and leaves the clustering. Experts without any
    recorded load are left out. Averaged over layers. `draws` defaults to the number needed for
    `RELATIVE_ERROR`, at least 200.
    """
    array = checked(sequence_counts).astype(np.float64)
    rng = np.random.default_rng(seed)
    labels = np.asarray([0] * len(array) if strata is None else [str(s) for s in strata])
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = np.array([len(g) for g in groups]) / len(array)
    sizes = np.floor(shares * sequences).astype(int)
    sizes[: sequences - sizes.sum()] += 1
    parts = [(array[group], int(size)) for size, group in zip(sizes, groups, strict=True) if size]
    first = draws or 200
    violation = _resampled(rng, parts, first)
    if draws is None:
        most = max(first, MOST_PRODUCTS // max(1, array.size))
        needed = min(_draws_needed(violation), most)
        if needed > first:
            violation = np.concatenate([violation, _resampled(rng, parts, needed - first)])
    return float(violation.mean()), float(np.percentile(violation, 95))


def _resampled(
    rng: np.random.Generator, parts: Sequence[tuple[NDArray[np.float64], int]], draws: int
) -> NDArray[np.float64]:
    """MaxVio of resampled sequences, averaged over layers, [draws]. parts: sequences [G, L, E] of a stratum
    and their number per batch."""
    shape = parts[0][0].shape[1:]
    expected, loads = np.zeros(shape), np.zeros((draws, *shape))
    for rows, size in parts:
        expected += size * rows.mean(0)
        # How often each sequence is picked, times its loads: the sum over the picked ones.
        picked = rng.multinomial(size, np.full(len(rows), 1 / len(rows)), size=draws)
        loads += (picked.astype(np.float64) @ rows.reshape(len(rows), -1)).reshape(draws, *shape)
    return np.asarray((np.nanmax(over_total(loads, expected), -1) - 1).mean(-1))
