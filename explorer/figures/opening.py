"""The opening of the app: loads of one layer in two runs that differ only in their rule.

It is shown before anything is explained: the load of every expert over time, and the share of the
busiest one at the end of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    busiest: float
    """The mean load of the busiest expert over the last tenth of training, over the uniform load."""
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
    every = (_film(store, unbalanced, layer) for layer in range(unbalanced.num_moe_layers))
    films = [film for film in every if film is not None]
    if not films:
        return None
    first = max(films, key=lambda film: film.busiest)
    second = _film(store, balanced, first.layer)
    return None if second is None else (first, second)


def _pair(arms: Sequence[Arm]) -> tuple[Run, Run] | None:
    """Two runs of one experiment and one seed."""
    for one in arms:
        for other in arms:
            if (one.first.balancer, other.first.balancer) == ("none", "loss_free"):
                for run in one.runs:
                    for partner in other.runs:
                        if run.seed == partner.seed and run.experiment == partner.experiment:
                            return run, partner
    return None


def _film(store: Store, run: Run, layer: int) -> LoadFilm | None:
    matrix: LoadMatrix = store.answer(load_matrix, run, layer, max_columns=COLUMNS).value
    tokens = matrix.tokens
    if tokens.shape[0] < 2 or tokens.shape[1] < 2:
        return None
    last = tokens[matrix.last_steps > matrix.last_steps[-1] * (1 - LAST_SHARE)]
    shares = last.sum(0) / last.sum() * tokens.shape[1]
    return LoadFilm(
        run=run,
        layer=layer,
        last_steps=matrix.last_steps,
        load_ratio=tokens / np.maximum(tokens.mean(1, keepdims=True), 1e-300),
        busiest=float(shares.max()),
        nearly_idle=int((shares < NEARLY_IDLE).sum()),
    )
