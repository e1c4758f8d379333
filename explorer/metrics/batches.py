"""MaxVio of a run: over which tokens the loads are counted, and over what the metric is averaged.

Layers are measured one by one and then averaged, never pooled: pooling lets two layers that collapse
onto different experts look balanced. L layers, E experts, S steps, R sequences.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import checked, max_vio

LAST_STEPS = 100
LAST_RECORDED = 20


def last_steps(num_steps: int) -> int:
    """How many final steps `max_vio_batch` averages: 100, or the last quarter if that is fewer."""
    return max(1, min(LAST_STEPS, num_steps // 4))


def last_recorded(num_recorded: int) -> int:
    """Number of final recorded steps that metrics of single sequences average over: 20, or the last quarter.

    Sequences are recorded in some steps only. As for `last_steps`, it is the end of a training that counts,
    not its uneven beginning.
    """
    return max(1, min(LAST_RECORDED, num_recorded // 4))


def max_vio_batch(counts: ArrayLike, num_steps: int | None = None) -> float:
    """Mean over the last 100 steps (the last quarter if fewer) of MaxVio per layer, averaged over layers.

    counts: [S, L, E], one row per training step, in order; with `num_steps`, the last rows of a run
    of that length. 0 at balance, N/K - 1 at one hot; chance alone gives `uniform_reference`.
    Source: Loss-Free Balancing, arXiv 2408.15664 (MaxVio_batch, there drawn as a mean of 100 steps).
    """
    return float(max_vio_batch_by_layer(counts, num_steps).mean())


def max_vio_batch_by_layer(counts: ArrayLike, num_steps: int | None = None) -> NDArray[np.float64]:
    """As `max_vio_batch`, one value per layer. counts: [S, L, E] -> [L]."""
    array = checked(counts)
    return np.asarray(max_vio(array[-last_steps(num_steps or len(array)) :]).mean(0))


def max_vio_global(counts: ArrayLike) -> float:
    """MaxVio of final held-out counts with the bias frozen, averaged over layers. counts: [L, E].

    0 at balance, N/K - 1 at one hot. Source: Loss-Free Balancing (MaxVio_global).
    """
    return float(max_vio(counts).mean())


def max_vio_computation_batch(sequence_counts: ArrayLike, sequences: int) -> NDArray[np.float64]:
    """MaxVio of groups of `sequences` neighbouring sequences, averaged over groups. [..., R, L, E] -> [L].

    A group is what one device computes at once: micro-batch size times the expert-parallel ranks that
    share the experts. Groups never reach across the leading axes (steps), and an incomplete last group is
    left out. 0 at balance, N/K - 1 at one hot; NaN when there is no whole group.
    Source: Loss-Free Balancing, section 4.3 and Figure 5 (MaxVio_computation-batch).
    """
    array = checked(sequence_counts)
    *lead, recorded, layers, experts = array.shape
    groups = recorded // sequences
    if groups == 0:
        return np.full(layers, np.nan)
    whole = array[..., : groups * sequences, :, :].reshape(*lead, groups, sequences, layers, experts)
    return np.asarray(max_vio(whole.sum(-3)).reshape(-1, layers).mean(0))


def worst_layer(counts: ArrayLike) -> tuple[int, float]:
    """The layer with the highest MaxVio and its value; an average can hide it. counts: [L, E]."""
    violation = max_vio(counts)
    layer = int(np.nanargmax(violation))
    return layer, float(violation[layer])
