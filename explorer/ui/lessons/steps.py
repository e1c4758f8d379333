"""Loads and biases of single training steps, for facts that no bin may blur."""

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.figures.arms import Run
from explorer.queries.loads import LoadMatrix
from explorer.ui.lessons import runs as lesson_runs
from explorer.ui.shared import cached


def matrix(run: Run, layer: int) -> LoadMatrix:
    """Every recorded step of a layer. Raises MissingRun for a run that is only kept in bins of steps."""
    found = cached.load_matrix(run.version, layer)
    if not np.array_equal(found.steps, found.last_steps):
        raise lesson_runs.MissingRun(f"{run.run_id} has too many steps to be read one by one.")
    return found


def max_vio(run: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The recorded steps [S] and the MaxVio of each [S], mean over layers."""
    layers = [matrix(run, layer) for layer in run.layers]
    return layers[0].steps, np.mean([metrics.max_vio(layer.tokens) for layer in layers], axis=0)


def biases(run: Run, layer: int) -> NDArray[np.float64]:
    """The bias [S, E] that every recorded step of a layer used; NaN where a step had none."""
    bias = matrix(run, layer).bias
    if bias is None:
        raise lesson_runs.MissingRun(f"{run.run_id} has no biases recorded.")
    return bias.astype(np.float64)
