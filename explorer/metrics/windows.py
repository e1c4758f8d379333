"""Metrics over several steps: dead experts, collapse, and what the biases do."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import checked, over_total

COLLAPSE_STEPS = 100
DEAD_STEPS = 100
"""W of a dead expert, unless another window is named."""


def dead_experts(counts: ArrayLike) -> NDArray[np.int64]:
    """How many experts have no token in any of W consecutive recorded steps. [W, ..., E] -> [...].

    0 ... N; 0 at balance, N - K when all tokens take the same K experts throughout. With W = 1 these
    are the idle experts; a longer window never has more of them.
    """
    return np.asarray((checked(counts).sum(0) == 0).sum(-1))


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


def bias_spread(bias: ArrayLike) -> NDArray[np.float64]:
    """max_i b_i - min_i b_i, in score units. [..., E] -> [...]; 0 at the start, never negative.

    A constant added to all biases changes nothing. What a wide spread means depends on the scores and on
    how the bias acts: `explorer.routing.outranking`.
    """
    array = np.asarray(bias, dtype=np.float64)
    return np.asarray(array.max(-1) - array.min(-1))


def oscillation(bias: ArrayLike) -> NDArray[np.float64]:
    """Share of the bias steps that turn around: of the pairs of consecutive steps b_{s+1} - b_s that both
    moved, how many have opposite signs. [S, ..., E] -> [...], over steps and experts together.

    0 while every bias travels one way, 1 in a limit cycle of two steps, about 1/2 when noise alone
    decides. NaN when no expert moved twice in a row (no bias rule, frozen, or S < 3).
    """
    moves = np.sign(np.diff(np.asarray(bias, dtype=np.float64), axis=0))
    turns = moves[1:] * moves[:-1]
    flips = (turns < 0).sum(axis=(0, -1))
    both = flips + (turns > 0).sum(axis=(0, -1))  # a missing bias (NaN) is neither
    return over_total(flips, both)
