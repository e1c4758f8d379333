"""Agreement of two routings of the same tokens, in whole numbers.

Two probes of a run, two runs, or a run and its recomputation. Shapes: T tokens, E experts, K and K' slots; an
id of E is an empty slot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.routing.routing_math import members

Ids = NDArray[np.int64]
MOST_CELLS = 1 << 24
"""Cells of a part of two stacks of layers that are compared at once."""
FEW_SLOTS = 24
"""Up to so many slots per token, comparing every two is faster than arrays of tokens x experts."""
CLEAR = 0.5
"""Overlap that a shift of layers must reach before it is reported: by chance two layers share K/E of it."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Counts of one layer, from which shares derive; the costly matrices are made on demand."""

    one_TK: Ids
    """[T, K] distinct experts of the first routing; E in an empty slot."""
    other_TK: Ids
    """[T, K'] the same of the second routing."""
    loads_E: Ids
    """[E] assignments of the first routing."""
    other_loads_E: Ids
    """[E] assignments of the second routing."""
    slots: int
    """Assignments compared: per token those of the routing that gives it more experts, Σ max(|A|, |B|)."""
    differing: int
    """Tokens whose sets of experts differ."""
    shared: int
    """Assignments that both routings make."""

    @property
    def tokens(self) -> int:
        return len(self.one_TK)

    @cached_property
    def joint_EE(self) -> Ids:
        """[E, E] tokens that the first routing sends to expert e and the second to expert f."""
        return _pairs(self.one_TK, self.other_TK, self.num_experts)

    @cached_property
    def swaps_EE(self) -> Ids:
        """[E, E] tokens that leave expert e (first routing only) and gain expert f (second routing only). A
        token that changes two experts counts in four cells."""
        experts = self.num_experts
        left_TK = np.where(_is_in(self.one_TK, self.other_TK, experts), experts, self.one_TK)
        gained_TK = np.where(_is_in(self.other_TK, self.one_TK, experts), experts, self.other_TK)
        return _pairs(left_TK, gained_TK, experts)

    @property
    def num_experts(self) -> int:
        return len(self.loads_E)

    @property
    def overlap(self) -> float:
        """Share of the assignments that both make, which is 1 - churn (`metrics.churn`); 1 without any."""
        return self._share(self.shared)

    @property
    def differing_share(self) -> float:
        """Share of the tokens whose sets of experts differ."""
        return self.differing / self.tokens if self.tokens else 0.0

    @property
    def overlap_by_loads(self) -> float:
        """Expected overlap if the second routing drew its tokens independently of the first: Σ c c' / T."""
        if not self.tokens:
            return 1.0
        return self._share(int(self.loads_E @ self.other_loads_E) / self.tokens)

    @cached_property
    def relabelling(self) -> Ids:
        """[E] for each expert of the first routing the one of the second that fits it best, one to one."""
        from scipy.optimize import linear_sum_assignment  # loaded on first use

        _, columns = linear_sum_assignment(-self.joint_EE)
        return np.asarray(columns, dtype=np.int64)

    @property
    def matched_overlap(self) -> float:
        """Overlap after the relabelling: expert numbers mean nothing across two training runs."""
        return self._share(int(self.joint_EE[np.arange(self.num_experts), self.relabelling].sum()))

    def _share(self, assignments: float) -> float:
        return assignments / self.slots if self.slots else 1.0


def agreement(first_TK: Ids, second_TK: Ids, num_experts: int) -> Agreement:
    """Compare two routings of the same T tokens. Raises ValueError for different numbers of tokens."""
    if len(first_TK) != len(second_TK):
        raise ValueError(f"{len(first_TK)} and {len(second_TK)} tokens cannot be the same tokens")
    one_TK, other_TK = _distinct(first_TK, num_experts), _distinct(second_TK, num_experts)
    shared_T = _is_in(one_TK, other_TK, num_experts).sum(1)
    slots_T = np.maximum((one_TK < num_experts).sum(1), (other_TK < num_experts).sum(1))
    return Agreement(
        one_TK=one_TK,
        other_TK=other_TK,
        loads_E=np.bincount(one_TK.ravel(), minlength=num_experts + 1)[:num_experts],
        other_loads_E=np.bincount(other_TK.ravel(), minlength=num_experts + 1)[:num_experts],
        slots=int(slots_T.sum()),
        differing=int((shared_T < slots_T).sum()),
        shared=int(shared_T.sum()),
    )


def _distinct(ids_TK: Ids, num_experts: int) -> Ids:
    """The same sets of experts, each expert once; E in any other slot."""
    result = np.where((ids_TK >= 0) & (ids_TK < num_experts), ids_TK, num_experts).astype(np.int64)
    for slot in range(1, result.shape[1]):
        result[(result[:, slot, None] == result[:, :slot]).any(1), slot] = num_experts
    return result


def _is_in(ids_TK: Ids, others_TK: Ids, num_experts: int) -> NDArray[np.bool_]:
    """[T, K] whether an expert is among the others of its token; False in an empty slot."""
    if others_TK.shape[1] > FEW_SLOTS:
        is_among_TE = members(others_TK, num_experts)
        ids = np.minimum(ids_TK, num_experts - 1)
        return np.asarray(np.take_along_axis(is_among_TE, ids, -1) & (ids_TK < num_experts))
    is_among = (ids_TK[:, :, None] == others_TK[:, None, :]).any(2)
    return np.asarray(is_among & (ids_TK < num_experts))


def _pairs(one_TK: Ids, other_TK: Ids, num_experts: int) -> Ids:
    """[E, E] tokens in both, of distinct experts."""
    if max(one_TK.shape[1], other_TK.shape[1]) > FEW_SLOTS:
        # float32 holds every count of up to 2^24 tokens exactly.
        kind = np.float32 if len(one_TK) <= 1 << 24 else np.float64
        one_TE, other_TE = members(one_TK, num_experts), members(other_TK, num_experts)
        return np.asarray((one_TE.T.astype(kind) @ other_TE.astype(kind)).round(), dtype=np.int64)
    width = num_experts + 1
    cells = one_TK[:, :, None] * width + other_TK[:, None, :]
    counts = np.bincount(cells.ravel(), minlength=width * width).reshape(width, width)
    return np.asarray(counts[:num_experts, :num_experts], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class LayerShift:
    """How far the layers of the second routing are shifted against those of the first."""

    shift: int
    """The i-th layer of the first routing fits the (i + shift)-th of the second."""
    numbers: int | None
    """The same as a difference of layer numbers; None where it is not the same for all layers."""
    overlap: float
    """Overlap over the pairs of layers under this shift."""
    unshifted: float
    """Overlap over the pairs of equal layer numbers; without any, over the pairs in order."""


def layer_shift(first: Mapping[int, Ids], second: Mapping[int, Ids], num_experts: int) -> LayerShift | None:
    """The shift under which the layers fit best; None where none fits clearly better than equal numbers.

    first, second: layer -> [T, K]. Only shifts that leave at least half of the layers a partner count.
    Engines number MoE layers with or without the dense ones before them, so routes arrive shifted by a few.
    """
    ones, others = sorted(first), sorted(second)
    if not ones or not others:
        return None
    equal = [(ones.index(n), others.index(n)) for n in ones if n in second]
    if equal and _overlap_at(first, second, num_experts) >= CLEAR:
        return None
    least = max(1, -(-min(len(ones), len(others)) // 2))
    shared, slots = _overlaps([first[n] for n in ones], [second[n] for n in others], num_experts)

    def overlap(pairs: Sequence[tuple[int, int]]) -> float:
        at = tuple(np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T)
        return float(shared[at].sum() / slots[at].sum()) if len(pairs) and slots[at].sum() else 0.0

    pairs = {
        shift: [(i, i + shift) for i in range(len(ones)) if 0 <= i + shift < len(others)]
        for shift in range(least - len(ones), len(others) - least + 1)
    }
    overlaps = {shift: overlap(agreements) for shift, agreements in pairs.items() if len(agreements) >= least}
    best = max(overlaps, key=lambda shift: (overlaps[shift], -abs(shift)), default=0)
    unshifted = overlap(equal) if equal else overlaps.get(0, 0.0)
    if best == 0 and not equal and overlaps.get(0, 0.0) >= CLEAR:
        unshifted = 0.0  # the same layers in order, under other numbers
    if overlaps.get(best, 0.0) < CLEAR or overlaps[best] <= unshifted or pairs[best] == equal:
        return None
    steps = {others[j] - ones[i] for i, j in pairs[best]}
    return LayerShift(
        shift=best,
        numbers=steps.pop() if len(steps) == 1 else None,
        overlap=overlaps[best],
        unshifted=unshifted,
    )


def _overlap_at(first: Mapping[int, Ids], second: Mapping[int, Ids], num_experts: int) -> float:
    """Overlap over the layers of equal numbers."""
    agreements = [agreement(first[n], second[n], num_experts) for n in first if n in second]
    slots = sum(one.slots for one in agreements)
    return sum(one.shared for one in agreements) / slots if slots else 0.0


def _overlaps(ones: Sequence[Ids], others: Sequence[Ids], num_experts: int) -> tuple[Ids, Ids]:
    """Shared assignments and slots (see `Agreement.slots`) of every pair of layers, [L, L'] each."""
    one_LTE, other_LTE = (np.stack([members(ids, num_experts) for ids in side]) for side in (ones, others))
    shared = np.zeros((len(ones), len(others)), dtype=np.int64)
    # float32 holds the counts of a part exactly.
    part = max(1, MOST_CELLS // (num_experts * max(len(ones), len(others))))
    for start in range(0, one_LTE.shape[1], part):
        left, right = (
            cells[:, start : start + part].reshape(len(cells), -1).astype(np.float32)
            for cells in (one_LTE, other_LTE)
        )
        shared += (left @ right.T).round().astype(np.int64)
    slots_LT, others_LT = (cells.sum(-1, dtype=np.int64) for cells in (one_LTE, other_LTE))
    slots = np.stack([np.maximum(row[None], others_LT).sum(-1) for row in slots_LT])
    return shared, slots
