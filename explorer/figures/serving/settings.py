"""What the panels of the Serving page depend on beside their runs."""

from dataclasses import dataclass, field

from explorer.figures.serving.windows import WindowPair
from explorer.routing.batch_selection import LatencyModel, LynxKnobs
from explorer.routing.placement import Policy


@dataclass(frozen=True, kw_only=True)
class InWindows:
    """A panel of two windows of loads; `layer` is the emphasised MoE layer."""

    pair: WindowPair
    layer: int
    hot: int = 1
    """Size of the hot set: this many busiest experts."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """GPUs and nodes, and how experts are placed on them."""

    gpus: int
    nodes: int
    groups: int
    """Groups of consecutive experts, which the hierarchical placement keeps on one node."""
    copies: int
    """Extra expert copies per GPU, beyond an equal share of the experts, rounded up."""
    policy: Policy

    def slots(self, num_experts: int) -> int:
        """Expert copies per layer; all GPUs hold equally many, at least one of every expert in all."""
        return (-(-num_experts // self.gpus) + self.copies) * self.gpus


@dataclass(frozen=True, kw_only=True)
class PlacedLayer:
    """A panel of one MoE layer under a placement planned on window A, served in window B."""

    pair: WindowPair
    layout: Layout
    layer: int


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A panel of all layers under a placement planned on window A and judged on window B."""

    pair: WindowPair
    layout: Layout
    least: float = 0.05
    """Least share of the modelled time whose saving is worth a placement."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batch-aware selection on the probe after `probe` updates."""

    probe: int
    layer: int
    k0: int
    knobs: LynxKnobs = field(default_factory=LynxKnobs)
    latency: LatencyModel = field(default_factory=LatencyModel)
    is_mixed: bool = True
    """Whether a batch holds unrelated tokens, as in decode; else consecutive ones of one text."""
