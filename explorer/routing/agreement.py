"""Agreement of two routings of the same tokens, in whole numbers.

Two probes of a run, two runs, or a run and its recomputation. Shapes: T tokens, E experts, K and K' slots; an
id of E is an empty slot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.routing.routing_math import members

Ids = NDArray[np.int64]
CLEAR = 0.5
"""Overlap that a shift of layers must reach before it is reported: by chance two layers share K/E of it."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Counts of one layer. Shares derive from them."""

    tokens: int
    joint_EE: Ids
    """[E, E] tokens that the first routing sends to expert e and the second to expert f."""
    swaps_EE: Ids
    """[E, E] tokens that leave expert e (first routing only) and gain expert f (second routing only). A token
    that changes two experts counts in four cells."""
    loads_E: Ids
    """[E] assignments of the first routing."""
    other_loads_E: Ids
    """[E] assignments of the second routing."""
    slots: int
    """Assignments compared: per token those of the routing that gives it more experts, Σ max(|A|, |B|)."""
    differing: int
    """Tokens whose sets of experts differ."""

    @property
    def num_experts(self) -> int:
        return len(self.loads_E)

    @property
    def shared(self) -> int:
        """Assignments that both routings make."""
        return int(np.trace(self.joint_EE))

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
        """Overlap after the relabelling: expert numbers mean nothing across two trainings."""
        return self._share(int(self.joint_EE[np.arange(self.num_experts), self.relabelling].sum()))

    def _share(self, assignments: float) -> float:
        return assignments / self.slots if self.slots else 1.0


def agreement(first_TK: Ids, second_TK: Ids, num_experts: int) -> Agreement:
    """Compare two routings of the same T tokens. Raises ValueError for different numbers of tokens."""
    if len(first_TK) != len(second_TK):
        raise ValueError(f"{len(first_TK)} and {len(second_TK)} tokens cannot be the same tokens")
    one_TE, other_TE = members(first_TK, num_experts), members(second_TK, num_experts)
    left_TE, gained_TE = one_TE & ~other_TE, other_TE & ~one_TE
    return Agreement(
        tokens=len(first_TK),
        joint_EE=_pairs(one_TE, other_TE),
        swaps_EE=_pairs(left_TE, gained_TE),
        loads_E=one_TE.sum(0, dtype=np.int64),
        other_loads_E=other_TE.sum(0, dtype=np.int64),
        slots=int(np.maximum(one_TE.sum(1, dtype=np.int64), other_TE.sum(1, dtype=np.int64)).sum()),
        differing=int((left_TE.any(-1) | gained_TE.any(-1)).sum()),
    )


def _pairs(one_TE: NDArray[np.bool_], other_TE: NDArray[np.bool_]) -> Ids:
    """[E, E] tokens in both, exactly: float32 holds every count of up to 2^24 tokens, and multiplies fast."""
    kind = np.float32 if len(one_TE) <= 1 << 24 else np.float64
    return np.asarray((one_TE.T.astype(kind) @ other_TE.astype(kind)).round(), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class LayerShift:
    """How far the layers of the second routing are shifted against those of the first."""

    shift: int
    """Layer number i of the first routing fits number i + shift of the second, counted in MoE layers."""
    overlap: float
    """Overlap over the pairs of layers under this shift."""
    unshifted: float
    """Overlap over the pairs without a shift."""


def layer_shift(first: Mapping[int, Ids], second: Mapping[int, Ids], num_experts: int) -> LayerShift | None:
    """The shift under which the layers fit best; None where no shift other than 0 fits clearly better.

    first, second: layer -> [T, K]. Only shifts that leave at least half of the layers a partner count.
    Engines number MoE layers with or without the dense ones before them, so routes arrive shifted by a few.
    """
    ones, others = ([routes[layer] for layer in sorted(routes)] for routes in (first, second))
    least = max(1, -(-min(len(ones), len(others)) // 2))
    overlaps: dict[int, float] = {}
    for shift in range(least - len(ones), len(others) - least + 1):
        pairs = [(ones[i], others[i + shift]) for i in range(len(ones)) if 0 <= i + shift < len(others)]
        if len(pairs) >= least:
            found = [agreement(a, b, num_experts) for a, b in pairs]
            slots = sum(one.slots for one in found)
            overlaps[shift] = sum(one.shared for one in found) / slots if slots else 0.0
    best = max(overlaps, key=lambda shift: (overlaps[shift], -abs(shift)), default=0)
    unshifted = overlaps.get(0, 0.0)
    if best == 0 or overlaps[best] < CLEAR or overlaps[best] <= unshifted:
        return None
    return LayerShift(shift=best, overlap=overlaps[best], unshifted=unshifted)
