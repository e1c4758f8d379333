"""What chance alone would show: the reference lines that every plot of MaxVio draws."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import checked

MOST_CELLS = 1_500_000
"""Loads that `uniform_reference` simulates at most: the widest models take a tenth of a second too."""


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
    wanted = draws * num_layers
    simulated = min(wanted, max(draws, MOST_CELLS // num_experts))
    loads = _random_loads(rng, num_experts, top_k, num_tokens, simulated)
    layers = loads.max(-1) / (num_tokens * top_k / num_experts) - 1
    if simulated < wanted:
        # Many wide layers: thousands of them are enough to draw the others from.
        layers = rng.choice(layers, wanted)
    violation = layers.reshape(draws, num_layers).mean(-1)
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
    array = checked(sequence_counts).astype(np.float64)
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
