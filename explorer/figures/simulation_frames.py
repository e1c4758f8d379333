"""Arrays of a simulation as the frames that charts and data tables take."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.simulate.dynamics import Simulation
from explorer.simulate.summary import bins

POINTS = 150
"""Points of one trajectory; a chart has one trajectory per expert."""


def series_frame(values: Mapping[str, NDArray[np.floating]]) -> pl.DataFrame:
    """Side -> [S], as one row per side and bin: run_id, x, value, low, high, first_step, last_step."""
    parts = []
    for side, array in values.items():
        piece = bins(array)
        parts.append(
            pl.DataFrame(
                {
                    "run_id": [side] * len(piece.first),
                    "x": piece.first.astype(np.float64),
                    "value": piece.mean,
                    "low": piece.low,
                    "high": piece.high,
                    "first_step": piece.first,
                    "last_step": piece.last,
                }
            )
        )
    return pl.concat(parts)


def trajectory_frame(values: NDArray[np.floating]) -> pl.DataFrame:
    """[S, E] -> columns step, expert, value; at most about `POINTS` steps, the last one included."""
    steps, experts = values.shape
    # An odd stride: with an even one an alternating bias would look constant.
    stride = max(1, steps // POINTS) | 1
    step_numbers = np.unique(np.append(np.arange(0, steps, stride), steps - 1))
    return pl.DataFrame(
        {
            "step": np.repeat(step_numbers, experts),
            "expert": np.tile(np.arange(experts, dtype=np.int32), len(step_numbers)),
            "value": values[step_numbers].astype(np.float64).round(6).ravel(),
        }
    )


def loads_frame(simulation: Simulation, step: int) -> pl.DataFrame:
    """Loads and biases of one step, as `charts.loads.load_bars` takes them."""
    counts = simulation.counts[step]
    return pl.DataFrame(
        {
            "step": [step] * len(counts),
            "expert": np.arange(len(counts), dtype=np.int32),
            "tokens": counts,
            "load_ratio": counts / simulation.scores.mean_load,
            "expert_bias": simulation.bias[step].astype(np.float64),
        }
    )


def extremes(values: NDArray[np.floating]) -> list[int]:
    """The experts with the highest and the lowest final value; none where all are equal. values [S, E]."""
    last = values[-1]
    if last.max() == last.min():
        return []
    return [int(last.argmax()), int(last.argmin())]
