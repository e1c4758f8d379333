"""Summary metrics of a simulation: steps to balance, final imbalance, oscillation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.simulate.dynamics import Simulation

F64 = NDArray[np.float64]

SETTLED = 1.5
"""Balanced: the mean of `WINDOW` steps is below this many times the random-routing baseline."""
WINDOW = 20


@dataclass(frozen=True, kw_only=True)
class Bins:
    """A binned series; every array is [bins]."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    mean: F64
    low: F64
    high: F64


def bins(values: NDArray[np.floating], most: int = 300) -> Bins:
    """values [S] -> means, minima and maxima of pieces of equal length (the last one may be shorter)."""
    size = -(-len(values) // most)
    first = np.arange(0, len(values), size)
    last = np.minimum(first + size, len(values)) - 1
    data = np.asarray(values, dtype=np.float64)
    return Bins(
        first=first,
        last=last,
        mean=np.add.reduceat(data, first) / (last - first + 1),
        low=np.minimum.reduceat(data, first),
        high=np.maximum.reduceat(data, first),
    )


def random_reference(simulation: Simulation, tokens: int | None = None) -> tuple[float, float]:
    """MaxVio of uniform-random routing for this N, K and T: (mean, 95th percentile).

    tokens: how many are counted, those of a step without it.
    """
    scores = simulation.scores
    return metrics.uniform_reference(scores.num_experts, scores.top_k, tokens or scores.num_tokens)


def final_max_vio(simulation: Simulation) -> float:
    """Mean MaxVio of the last `metrics.last_steps` steps."""
    return float(simulation.max_vio[-metrics.last_steps(len(simulation.counts)) :].mean())


def steps_to_balance(simulation: Simulation, after: int = 0) -> int | None:
    """Updates after step `after` until loads are about as even as with random routing; None if never.

    The first step whose following `WINDOW` steps have a mean MaxVio below 1.5 times the reference.
    """
    series = simulation.max_vio[after:]
    window = min(WINDOW, len(series))
    mean = np.convolve(series, np.ones(window) / window, mode="valid")
    balanced = np.flatnonzero(mean <= SETTLED * random_reference(simulation)[0])
    return int(balanced[0]) if len(balanced) else None


def turning_share(simulation: Simulation) -> float:
    """Share of reversed bias updates in the last steps: 1 is a pure zigzag."""
    tail = simulation.bias[-metrics.last_steps(len(simulation.bias)) - 2 :]
    share = float(metrics.oscillation(tail))
    return 0.0 if math.isnan(share) else share


def spread(simulation: Simulation) -> float:
    """Largest minus smallest bias after the last update, in score units."""
    return float(metrics.bias_spread(simulation.final_bias))
