"""Router logits that are not numbers stop a run, with the place where they first appeared.

They are counted on the device in every step and fetched with everything else that is measured, so a
GPU is never waited for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import TrainingError
from explorer.model.transformer import LayerOutput


@torch.no_grad()
def nonfinite_logits(layers: Sequence[LayerOutput]) -> Tensor:
    """How many of each expert's router logits are NaN or infinite, int64 [L, E]."""
    return torch.stack([(~layer.routing.router_logits_TE.isfinite()).sum(0) for layer in layers])


def refuse_nonfinite(counts_LE: NDArray[Any], where: str) -> None:
    """Raise TrainingError if there is one, naming `where`, layer and expert.

    A first bad layer spoils every layer behind it, so the first is named.
    """
    layers, experts_of = np.nonzero(counts_LE)
    if not len(layers):
        return
    layer = int(layers[0])
    experts = experts_of[layers == layer].tolist()
    named = f"expert {experts[0]}" if len(experts) == 1 else f"experts {', '.join(map(str, experts))}"
    raise TrainingError(
        f"router logits of layer {layer}, {named}, are NaN or infinite in {where} "
        f"({int(counts_LE[layer].max())} tokens or more): nothing can be chosen by them; lower "
        "training.learning_rate or the coefficient of the balancing rule."
    )
