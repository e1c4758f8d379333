"""Non-finite router logits stop a run, with an error that names where they first appeared.

They are counted on the device in every step and fetched with all other measurements, so the host never
waits for a GPU.
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
    """Number of NaN or infinite router logits per expert, int64 [L, E]."""
    return torch.stack([(~layer.routing.router_logits_TE.isfinite()).sum(0) for layer in layers])


def refuse_nonfinite(counts_LE: NDArray[Any], where: str) -> None:
    """Raise TrainingError if there are any, naming `where`, layer and expert.

    The first affected layer makes all later ones non-finite, so it is the one named.
    """
    layers, experts_of = np.nonzero(counts_LE)
    if not len(layers):
        return
    layer = int(layers[0])
    experts = experts_of[layers == layer].tolist()
    expert_text = f"expert {experts[0]}" if len(experts) == 1 else f"experts {', '.join(map(str, experts))}"
    raise TrainingError(
        f"router logits of layer {layer}, {expert_text}, are NaN or infinite in {where} "
        f"({int(counts_LE[layer].max())} tokens or more): nothing can be chosen by them; lower "
        "training.learning_rate or the coefficient of the balancing rule."
    )
