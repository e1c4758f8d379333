"""Does expert choice look ahead? One token is changed, and the other tokens whose experts change are counted.

Within one MoE layer and on given scores: the direct leak. In a model the changed tokens then change the
input of the next layers. Token choice changes no other token, since each token selects by its own scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LeakCounts:
    """Over all trials; a trial changes one token."""

    trials: int
    earlier_trials: int
    """Trials in which an earlier token of the same sequence changes its experts."""
    other_trials: int
    """Trials in which a token of another sequence changes its experts."""
    earlier_tokens: int
    """Earlier tokens of the same sequence that change, summed over trials."""

    def __add__(self, other: "LeakCounts") -> "LeakCounts":
        return LeakCounts(
            trials=self.trials + other.trials,
            earlier_trials=self.earlier_trials + other.earlier_trials,
            other_trials=self.other_trials + other.other_trials,
            earlier_tokens=self.earlier_tokens + other.earlier_tokens,
        )


def expert_choice_leak(scores_TE: Floats, top_k: int, *, chunk: int, sequence_tokens: int) -> LeakCounts:
    """Expert choice in chunks of consecutive tokens: change every token in turn, and count who else changes.

    scores_TE: [T, E]. Each expert takes the C = ceil(n K / E) tokens of a chunk of n with its highest scores;
    of equal scores the earlier token. A trial gives token t the scores of token t + T/2 (cyclic), so that
    nothing is drawn at random. Since one token changes, an expert gains or loses at most one other token: the
    last one that it takes or the first one that it does not.
    """
    tokens = len(scores_TE)
    changed_TE = np.roll(scores_TE, -(tokens // 2), axis=0)
    total = LeakCounts(trials=0, earlier_trials=0, other_trials=0, earlier_tokens=0)
    for start in range(0, tokens, chunk):
        rows = slice(start, min(start + chunk, tokens))
        other = _displaced(scores_TE[rows], changed_TE[rows], top_k)
        total += _count(other, start, sequence_tokens)
    return total


def _displaced(scores_NE: Floats, changed_NE: Floats, top_k: int) -> Ids:
    """[N, E] the token that an expert takes or drops when a row is changed; -1 for none."""
    size, experts = scores_NE.shape
    capacity = -(-size * top_k // experts)
    if capacity >= size:
        return np.full((size, experts), -1, dtype=np.int64)
    order = np.argsort(-scores_NE, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(size)[:, None], axis=0)
    last, first_out = order[capacity - 1], order[capacity]
    every = np.arange(size)[:, None]
    taken = rank < capacity
    # A taken token leaves if the first one outside beats it; another enters if it beats the last one inside.
    leaves = taken & ~_beats(changed_NE, every, scores_NE[first_out, np.arange(experts)], first_out)
    enters = ~taken & _beats(changed_NE, every, scores_NE[last, np.arange(experts)], last)
    return np.where(leaves, first_out, np.where(enters, last, -1))


def _beats(values: Floats, tokens: Ids, against: Floats, other: Ids) -> NDArray[np.bool_]:
    """Whether a score is taken before another: higher, or equal and earlier."""
    return np.asarray((values > against) | ((values == against) & (tokens < other)))


def _count(displaced_NE: Ids, start: int, sequence_tokens: int) -> LeakCounts:
    """Count the displaced tokens of one chunk, which starts at token `start`."""
    changed = np.arange(len(displaced_NE))[:, None] + start
    other = displaced_NE + start
    is_one = displaced_NE >= 0
    same = other // sequence_tokens == changed // sequence_tokens
    earlier = is_one & same & (other < changed)
    partners = np.sort(np.where(earlier, other, -1), axis=1)
    distinct = (partners >= 0) & (np.diff(partners, axis=1, prepend=-1) != 0)
    return LeakCounts(
        trials=len(displaced_NE),
        earlier_trials=int(earlier.any(1).sum()),
        other_trials=int((is_one & ~same).any(1).sum()),
        earlier_tokens=int(distinct.sum()),
    )
