"""Base class of the balancing strategies, and the view of a layer that they get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.model.router import Routing


@dataclass(frozen=True)
class LayerBatch:
    """One layer's routing of one micro-batch, as a strategy sees it."""

    routing: Routing
    counts_BE: Tensor
    """Assignments per sequence under the routing that was used, int64."""
    step_counts_E: Tensor | None = None
    """Assignments of the whole optimizer step, where they differ from this micro-batch's."""
    earlier_counts_E: Tensor | None = None
    """Assignments of this step's earlier micro-batches."""
    expert_bias_E: Tensor | None = None
    """The selection bias that was used."""
    seed: int = 0
    """Of random draws in this layer and pass; a repeated pass draws the same."""
    router_weight_ED: Tensor | None = None
    """The router's weight matrix, with gradient."""


class Balancer:
    """A strategy that does nothing: the control `none`, and the base class of the others."""

    name = "none"
    coeff = 0.0
    is_z_loss = False
    needs_step_counts = False
    """Whether its loss needs the counts of the whole step before the first backward pass."""
    bias_form: str | None = None
    since = 0
    """The step from which it is in force."""

    def __init__(self) -> None:
        self.memory: dict[str, Tensor] = {}
        """State kept between steps, by name, [L, E]; part of a checkpoint."""

    def loss(self, batch: LayerBatch) -> Tensor | None:
        """Unscaled loss of one layer and micro-batch, a scalar with gradient; or None."""
        return None

    def adjust(self, num_sequences: int, top_k: int) -> Callable[[Tensor], Tensor] | None:
        """Transform of the selection scores [T, E] before the bias, also in evaluation; or None."""
        return None

    def observe(self, batch: LayerBatch) -> Tensor | None:
        """Statistics, beside the counts, that an update needs from one layer and micro-batch; no gradient.

        The shape is the strategy's own, for example [T, E]; or None.
        """
        return None

    def pool(self, observed: Sequence[Tensor]) -> Tensor:
        """Combine a layer's observations over micro-batches or ranks into one tensor; sums by default.

        The result has the shape of an observation: sums in equal shapes, lists of tokens [T, …] end to end.
        """
        return torch.stack(list(observed)).sum(0)

    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        """Move the bias [..., E] in place after optimizer step `step`.

        counts: int64 [..., E] of all tokens of the step; observed: per layer, the result of `pool`.
        """

    def rate(self, step: int) -> float | None:
        """u used after `step`, or None."""
        return None
