"""Whether a planned placement would have paid on a later window, with an interval from its counts.

Shapes: R batches, L layers, E experts, G GPUs.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explorer.routing.placement import Loads, gpu_loads, time_over_balanced

Answer = Literal["worth it", "not worth it", "too little evidence"]
LEAST_BATCHES = 8
"""Batches from which whole batches are resampled; with fewer, tokens are."""
MOST_BLOCKS = 20
"""Consecutive batches are resampled together, in at most this many blocks: neighbours are alike."""
LEAST_PER_EXPERT = 32
"""Assignments per expert and layer, on average, below which a window decides nothing."""
DRAWS_OF_BATCHES, DRAWS_OF_TOKENS = 2000, 100


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer with its numbers, all of the judging window."""

    answer: Answer
    before: float
    """Modelled time over that of balanced GPUs, mean of the layers, without the placement."""
    after: float
    """The same with it."""
    saving: float
    """Share of the modelled time that the placement saves."""
    low: float
    high: float
    """95 % interval of the saving."""
    before_L: NDArray[np.float64]
    after_L: NDArray[np.float64]
    is_by_batch: bool
    """Whether the interval comes from whole batches, not from single tokens."""
    is_large_enough: bool
    """Whether both windows hold LEAST_PER_EXPERT assignments per expert."""
    is_other_window: bool
    """Whether it was judged on loads that the plan has not seen."""
    are_counts: bool
    """Whether the loads are counts; the interval of shares means nothing."""


def judge(
    before_LGE: Loads,
    after_LGE: Loads,
    plan_LE: NDArray[np.int64],
    judge_RLE: NDArray[np.int64],
    *,
    least: float,
    is_other_window: bool = True,
    are_counts: bool = True,
) -> Judgement:
    """Compare two placements (`placement.gpu_shares`) on the batches of the judging window.

    Worth it: the whole interval of the saving lies at or above `least`. Not worth it: it lies below. Else,
    with windows of too few tokens, on the planning window itself, and from shares: too little evidence.
    """
    loads = (gpu_loads(before_LGE, judge_RLE), gpu_loads(after_LGE, judge_RLE))
    before_L, after_L = (time_over_balanced(part) for part in loads)
    is_by_batch = len(judge_RLE) >= LEAST_BATCHES
    if is_by_batch:
        savings = _resampled_batches(*loads)
    else:
        savings = _resampled_tokens(before_LGE, after_LGE, judge_RLE)
    low, high = (float(value) for value in np.percentile(savings, [2.5, 97.5]))
    is_large = min(_per_expert(plan_LE[None]), _per_expert(judge_RLE)) >= LEAST_PER_EXPERT
    usable = is_large and is_other_window and are_counts
    decided: Answer = "worth it" if low >= least else "not worth it"
    is_open = not usable or low < least <= high
    before, after = float(np.nanmean(before_L)), float(np.nanmean(after_L))
    return Judgement(
        answer="too little evidence" if is_open else decided,
        before=before,
        after=after,
        saving=1.0 - after / before,
        low=low,
        high=high,
        before_L=before_L,
        after_L=after_L,
        is_by_batch=is_by_batch,
        is_large_enough=is_large,
        is_other_window=is_other_window,
        are_counts=are_counts,
    )


def _per_expert(tokens_RLE: NDArray[np.int64]) -> float:
    """Assignments per expert of the layer with the fewest."""
    return float(tokens_RLE.sum((0, 2)).min() / tokens_RLE.shape[2])


def _resampled_batches(before_RLG: Loads, after_RLG: Loads) -> NDArray[np.float64]:
    """Savings when blocks of batches are drawn with replacement, [draws]."""
    rng = np.random.default_rng(0)
    blocks = np.array_split(np.arange(len(before_RLG)), min(MOST_BLOCKS, len(before_RLG)))
    weights = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=DRAWS_OF_BATCHES)
    totals = []
    for loads in (before_RLG, after_RLG):
        longest, mean = (
            np.stack([part[block].sum(0) for block in blocks]) for part in (loads.max(-1), loads.mean(-1))
        )
        draws = weights @ mean
        totals.append(np.where(draws > 0, (weights @ longest) / np.where(draws > 0, draws, 1.0), 0.0).sum(-1))
    return np.asarray(1.0 - totals[1] / totals[0])


def _resampled_tokens(
    before_LGE: Loads, after_LGE: Loads, tokens_RLE: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Savings when every count is drawn anew from a Poisson distribution, [draws]: independent tokens."""
    rng = np.random.default_rng(0)
    shape = (2, DRAWS_OF_TOKENS, tokens_RLE.shape[1])
    longest, mean = np.zeros(shape), np.zeros(shape)
    for tokens_LE in tokens_RLE:
        draws = rng.poisson(tokens_LE, (DRAWS_OF_TOKENS, *tokens_LE.shape))
        for which, shares in enumerate((before_LGE, after_LGE)):
            loads = gpu_loads(shares, draws)
            longest[which] += loads.max(-1)
            mean[which] += loads.mean(-1)
    totals = np.where(mean > 0, longest / np.where(mean > 0, mean, 1.0), 0.0).sum(-1)
    return np.asarray(1.0 - totals[1] / totals[0])
