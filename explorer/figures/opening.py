"""The opening of the app: loads of one layer in two runs that differ only in their rule.

It is shown before anything is explained: the load of every expert over time, and the MaxVio that the chart
and the cards of the same page show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.figures import final
from explorer.figures.arms import Arm, Run
from explorer.figures.store import Store
from explorer.queries.loads import load_matrix
from explorer.records.matrix import LoadMatrix

COLUMNS = 200
"""Points in time per picture: about one per pixel."""
LAST_SHARE = 0.1
"""The end of a run: its last tenth."""
NEARLY_IDLE = 0.25
"""An expert below this share of the uniform load is called nearly idle."""


@dataclass(frozen=True, kw_only=True)
class LoadFilm:
    """The loads of one layer over training. S columns, E experts."""

    run: Run
    layer: int
    last_steps: NDArray[np.int64]
    """[S] last step of each column."""
    load_ratio: NDArray[np.float64]
    """[S, E] load over the uniform load of its column; 0 for an expert without tokens."""
    max_vio: float | None
    """MaxVio over the last 100 steps, mean over the layers and seeds of the run's arm."""
    nearly_idle: int
    """How many experts take less than a quarter of the uniform load over the last tenth of training."""

    @property
    def num_experts(self) -> int:
        """E."""
        return int(self.load_ratio.shape[1])


def opening_films(store: Store, arms: Sequence[Arm]) -> tuple[LoadFilm, LoadFilm] | None:
    """One layer without balancing and with loss-free balancing, same seed, in that order.

    The layer is the one whose busiest expert takes most at the end of the run without balancing. None where
    the arms hold no such pair.
    """
    pair = _pair(arms)
    if pair is None:
        return None
    unbalanced, balanced = pair
    every = {layer: _loads(store, unbalanced.run, layer) for layer in range(unbalanced.run.num_moe_layers)}
    read = {layer: matrix for layer, matrix in every.items() if matrix is not None}
    if not read:
        return None
    layer = max(read, key=lambda layer: float(_last_shares(read[layer]).max()))
    partner = _loads(store, balanced.run, layer)
    if partner is None:
        return None
    return _film(store, unbalanced, layer, read[layer]), _film(store, balanced, layer, partner)


@dataclass(frozen=True)
class _ArmRun:
    """A run and the arm that it belongs to."""

    arm: Arm
    run: Run


def _pair(arms: Sequence[Arm]) -> tuple[_ArmRun, _ArmRun] | None:
    """Two runs of one experiment and one seed."""
    for one in arms:
        for other in arms:
            if (one.first.balancer, other.first.balancer) == ("none", "loss_free"):
                for run in one.runs:
                    for partner in other.runs:
                        if run.seed == partner.seed and run.experiment == partner.experiment:
                            return _ArmRun(one, run), _ArmRun(other, partner)
    return None


def _loads(store: Store, run: Run, layer: int) -> LoadMatrix | None:
    """None without at least two columns and two experts."""
    matrix: LoadMatrix = store.answer(load_matrix, run, layer, max_columns=COLUMNS).value
    return matrix if min(matrix.tokens.shape) >= 2 else None


def _last_shares(matrix: LoadMatrix) -> NDArray[np.float64]:
    """[E] load over the uniform load in the last tenth of training."""
    last = matrix.tokens[matrix.last_steps > matrix.last_steps[-1] * (1 - LAST_SHARE)].sum(0)
    shares: NDArray[np.float64] = last / last.sum() * len(last)
    return shares


def _film(store: Store, shown: _ArmRun, layer: int, matrix: LoadMatrix) -> LoadFilm:
    tokens = matrix.tokens
    return LoadFilm(
        run=shown.run,
        layer=layer,
        last_steps=matrix.last_steps,
        load_ratio=tokens / np.maximum(tokens.mean(1, keepdims=True), 1e-300),
        max_vio=final.headline(store, shown.arm).max_vio,
        nearly_idle=int((_last_shares(matrix) < NEARLY_IDLE).sum()),
    )
