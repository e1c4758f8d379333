"""What a panel depends on beside its runs: small frozen values, part of the key under which it is kept."""

from dataclasses import dataclass
from typing import Literal

Axis = Literal["step", "tokens", "time"]


@dataclass(frozen=True, kw_only=True)
class EventMarks:
    """Settings of a chart over training steps that has no others than its event marks."""

    marks: bool = True
    """Whether events are marked."""


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
class LossOverTime(OverTime):
    """A chart of losses over training."""

    is_end_only: bool = False
    """Whether only the last quarter is drawn, where runs differ by less than the loss has fallen before."""


@dataclass(frozen=True, kw_only=True)
class OneLayer:
    """A chart of one MoE layer."""

    layer: int
    bins: int = 200
    """Columns of a heatmap, or points of a line, at most."""


@dataclass(frozen=True, kw_only=True)
class LayerUntil(OneLayer):
    """A chart of one MoE layer that may end before the training does."""

    until: int | None = None
    """The last step that is drawn; None: the whole training."""

    @property
    def end_note(self) -> str:
        """Sentence on the last drawn step; "" for the whole training."""
        return "" if self.until is None else f" Shown up to step {self.until}."


@dataclass(frozen=True, kw_only=True)
class ExpertOrder:
    """Experts of a layer from left to right, sorted by something else than their index."""

    sort: str
    """What they are sorted by, as an axis title names it."""
    experts: tuple[int, ...]

    @property
    def axis_note(self) -> str:
        """What an axis of experts adds to its title."""
        return f", by {self.sort}"


@dataclass(frozen=True, kw_only=True)
class SortedLayer(OneLayer):
    """A chart of one MoE layer with its experts side by side."""

    order: ExpertOrder | None = None
    """None: by index."""


@dataclass(frozen=True, kw_only=True)
class OneStep(SortedLayer):
    """A chart of one MoE layer at one step."""

    step: int


@dataclass(frozen=True, kw_only=True)
class OneExpert(OneLayer):
    """A chart of one MoE layer that may highlight one expert."""

    expert: int | None = None
