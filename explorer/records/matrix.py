"""Loads of one MoE layer as dense arrays, for queries, heatmaps and the player."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LoadMatrix:
    """Loads of one layer over steps. S columns, E experts."""

    steps: NDArray[np.int64]
    """[S] first step of each column."""
    last_steps: NDArray[np.int64]
    """[S] last step of each column; equal to `steps` at full resolution."""
    tokens: NDArray[np.int64]
    """[S, E] assignments, summed over the steps of a column."""
    bias: NDArray[np.float32] | None
    """[S, E] mean of the finite biases used, NaN where a step had none; None if there are none."""
