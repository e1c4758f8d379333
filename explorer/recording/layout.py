"""A run's MoE layers, by the model's own numbers, and the number of experts in each.

A model may start with dense layers, have an MoE layer only in every second block, or layers of different
width (pruned models). The tables then hold the model's own layer numbers and no row for an expert that
does not exist. Shape letters: L MoE layers, E experts of the widest layer, K experts per token,
C cells: the experts of all layers, one layer after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from explorer.recording.folder_schema import MAX_CELLS


@dataclass(frozen=True)
class Layout:
    """L, E and K of a run, and the shape of each layer; `RunInfo.layout` has that of a run."""

    layers: tuple[int, ...]
    """The model's own number of each MoE layer, ascending."""
    widths: tuple[int, ...]
    """Routed experts of each MoE layer."""
    num_experts: int
    top_k: int

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.layers)

    @cached_property
    def is_even(self) -> bool:
        """Whether all layers have the same number of experts."""
        return all(width == self.num_experts for width in self.widths)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Letter of a dimension -> its length."""
        return {"L": self.num_layers, "E": self.num_experts, "K": self.top_k}

    @cached_property
    def is_there_LE(self) -> NDArray[np.bool_]:
        """Which cells of an array [L, E], padded to the widest layer, represent an expert."""
        return np.arange(self.num_experts) < np.asarray(self.widths, dtype=np.int64)[:, None]

    @cached_property
    def layer_C(self) -> NDArray[np.int32]:
        """The layer number of each cell."""
        return np.repeat(np.asarray(self.layers, dtype=np.int32), self.widths)

    @cached_property
    def expert_C(self) -> NDArray[np.int32]:
        """The expert of each cell, from 0 in every layer."""
        return np.nonzero(self.is_there_LE)[1].astype(np.int32)

    def slices(self) -> list[tuple[int, slice]]:
        """(layer number, slice of its cells) per layer."""
        ends = np.cumsum(self.widths).tolist()
        starts = [end - width for end, width in zip(ends, self.widths, strict=True)]
        return [(layer, slice(a, b)) for layer, a, b in zip(self.layers, starts, ends, strict=True)]


Problem = tuple[str, object, str]
"""(field, value, rule) of an inconsistency in run.json."""


def sizes_problem(num_layers: int, num_experts: int, top_k: int, cells: int) -> Problem | None:
    """Check the sizes; None if they are consistent. `cells`: the experts of all layers together."""
    if num_layers and top_k > num_experts:
        rule = f"must be at most num_experts ({num_experts}), since a token picks an expert once"
        return "top_k", top_k, rule
    if cells > MAX_CELLS:
        rule = f"with {num_layers} MoE layers these are {cells} experts: must be at most {MAX_CELLS} together"
        return "num_experts", num_experts, rule
    return None


def layers_problem(
    layers: Sequence[int] | None, widths: Sequence[int] | None, num_layers: int, num_experts: int
) -> Problem | None:
    """Check layer numbers and widths against the sizes; None if they agree."""
    if layers is not None:
        is_ascending = all(a < b for a, b in pairwise(layers))
        if len(layers) != num_layers or not is_ascending:
            rule = f"must be {num_layers} different numbers in ascending order, one per MoE layer"
            return "layers", list(layers), rule
    if widths is not None and (
        len(widths) != num_layers
        or min(widths, default=1) < 1
        or max(widths, default=num_experts) != num_experts
    ):
        rule = (
            f"must be {num_layers} numbers of at least 1, one per MoE layer, "
            f"the largest of them num_experts ({num_experts})"
        )
        return "experts_per_layer", list(widths), rule
    return None
