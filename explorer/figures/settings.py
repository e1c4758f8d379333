"""What a panel depends on beside its runs: small frozen values, part of the key under which it is kept."""

from dataclasses import dataclass
from typing import Literal

Axis = Literal["step", "tokens", "time"]


@dataclass(frozen=True, kw_only=True)
class OverTime:
    """A chart over training."""

    x: Axis = "step"
    log_y: bool = False
    until: int | None = None
    """The last step that is drawn; None: the whole training."""
    bins: int = 300
    """Points per line, at most."""
    height: int = 320
    """In pixels."""
    marks: bool = True
    """Whether events are marked; an event is a step, so none is marked on another axis."""


@dataclass(frozen=True, kw_only=True)
class OneLayer:
    """A chart of one MoE layer."""

    layer: int
    bins: int = 200
    """Columns of a heatmap, or points of a line, at most."""
