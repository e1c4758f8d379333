"""Loads and biases of single training steps, for facts that need every step unbinned."""

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.figures.arms import Run
from explorer.figures.facts.recorded import MissingRun, RecordedRuns
from explorer.queries.loads import load_matrix
from explorer.records.matrix import LoadMatrix


def matrix(recorded: RecordedRuns, run: Run, layer: int) -> LoadMatrix:
    """Every recorded step of a layer. Raises MissingRun for a run that is kept only in bins of steps."""
    loads = recorded.ask(load_matrix, run, layer)
    if not np.array_equal(loads.steps, loads.last_steps):
        raise MissingRun(f"{run.run_id} has too many steps to be read one by one.")
    return loads


def max_vio(recorded: RecordedRuns, run: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The recorded steps [S] and the MaxVio of each [S], mean over layers."""
    layers = [matrix(recorded, run, layer) for layer in run.layers]
    return layers[0].steps, np.mean([metrics.max_vio(layer.tokens) for layer in layers], axis=0)


def biases(recorded: RecordedRuns, run: Run, layer: int) -> NDArray[np.float64]:
    """The bias [S, E] that every recorded step of a layer used; NaN where a step had none.

    Raises MissingRun for a run without a bias rule.
    """
    bias = matrix(recorded, run, layer).bias
    if bias is None:
        raise MissingRun(f"{run.run_id} has no biases recorded.")
    return bias.astype(np.float64)
