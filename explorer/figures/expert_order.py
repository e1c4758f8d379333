"""The order in which charts show the experts of a layer: by index, load or bias."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.figures.arms import Run
from explorer.figures.settings import ExpertOrder
from explorer.figures.store import Store, Trace
from explorer.metrics import last_steps
from explorer.queries import biases as bias_queries
from explorer.queries import loads as queries
from explorer.records.matrix import LoadMatrix

INDEX, FINAL_LOAD, MEAN_LOAD, BIAS = "index", "final load", "mean load", "bias"
SORTS = (INDEX, FINAL_LOAD, MEAN_LOAD, BIAS)
FEW_BINS = 80


def sorts_of(store: Store, run: Run) -> list[str]:
    """The orders that a run has: by bias only where a bias was recorded."""
    trajectories = Trace(store).ask(bias_queries.bias_trajectories, run, run.layers[0], FEW_BINS)
    return [sort for sort in SORTS if sort != BIAS or not trajectories.is_empty()]


def order_of(store: Store, run: Run, layer: int, sort: str) -> ExpertOrder | None:
    """The experts of a layer by the sorted quantity, highest first; None for the order by index."""
    if sort == INDEX:
        return None
    trace = Trace(store)
    if sort == BIAS:
        last = trace.ask(queries.loads_at, run, layer, run.last_step).sort("expert")
        values = last["expert_bias"].fill_null(0.0).to_numpy()
    else:
        values = mean_loads(trace.ask(queries.load_matrix, run, layer), final=sort == FINAL_LOAD)
    return ExpertOrder(sort=sort, experts=tuple(by_value(values)))


def mean_loads(matrix: LoadMatrix, *, final: bool) -> NDArray[np.float64]:
    """Tokens of each expert [E] over the whole run, or over its last 100 steps.

    A run of fewer than 400 steps ends with its last quarter, as in the summary of a finished run.
    """
    tokens = matrix.tokens
    if final and len(matrix.steps):
        span = int(matrix.last_steps[-1] - matrix.steps[0]) + 1
        tokens = tokens[matrix.last_steps > matrix.last_steps[-1] - last_steps(span)]
    return np.asarray(tokens.sum(0), dtype=np.float64)


def by_value(values: NDArray[np.float64] | Sequence[float]) -> list[int]:
    """Experts from the highest value to the lowest; equal ones by index.

    >>> by_value([1.0, 3.0, 3.0, 2.0])
    [1, 2, 3, 0]
    """
    return [int(expert) for expert in np.argsort(-np.asarray(values), kind="stable")]
