"""How the bias of a layer moves between recorded steps, and what the loads before each move were."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.health.rows import Floats, LayerRows, RunRows

NOISE = 1e-7
"""Moves below this share of the bias are rounding in float32."""

SCALED = 0.98
"""Correlation of the moves with the load errors from which on a rule scales its moves. Of a sign rule it is
at most 0.95, that of a uniform distribution with its sign being 0.87."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """The moves of one layer's bias while the rules at the end were in force. M moves."""

    layer: LayerRows
    """The steps since these rules are in force; a bias that is not finite is NaN."""
    moves: Floats
    """[M, E] bias of the next recorded step minus that of this one; NaN where either is unknown."""
    gaps: NDArray[np.int64]
    """[M] steps between the two."""

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """[M, E] where the bias moved."""
        size = np.abs(self.layer.bias[:-1].astype(np.float64))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(self.moves) > NOISE * np.maximum(size, 1e-3))

    @cached_property
    def is_scaled(self) -> bool:
        """Whether moves are proportional to the load error, as under a rule without a sign."""
        error = (1 - self.layer.shares[:-1]) * np.maximum(self.gaps, 1)[:, None]
        usable = self.moved & np.isfinite(error)
        if usable.sum() < 3 or float(np.std(error[usable])) == 0:
            return False
        return bool(np.corrcoef(self.moves[usable], error[usable])[0, 1] >= SCALED)

    def agreement(self, shift: int = 0) -> tuple[int, int]:
        """Moves (along, against) the load error: along is up where the load was below the mean.

        shift: 0 takes the loads of the step before the move; 1 those of the step after, as where a file
        holds the bias after its update.
        """
        rows = slice(shift, len(self.moves) + shift)
        error = np.sign(1 - self.layer.shares[rows])
        sign = np.sign(self.moves) * np.where(np.isnan(error), 0, error) * self.moved
        return int((sign > 0).sum()), int((sign < 0).sum())


def moves_of(run: RunRows, layer: LayerRows) -> Moves | None:
    """The moves of a layer's bias; None where no bias is recorded, or where none is meant to move."""
    if run.is_inference or not layer.has_bias:
        return None
    if run.rules is not None and not any(rule.moves_bias for rule in run.rules):
        return None
    recent = layer.since(run.since)
    if len(recent.steps) < 2:
        return None
    broken = np.isinf(recent.bias)
    if broken.any():
        recent = replace(recent, bias=np.where(broken, np.float32(np.nan), recent.bias))
    return Moves(
        layer=recent, moves=np.diff(recent.bias.astype(np.float64), axis=0), gaps=np.diff(recent.steps)
    )
