"""Router gradients of the language loss and of the auxiliary losses.

An auxiliary loss acts on the same weights as the language loss, and where their gradients point in different
directions the language loss suffers: the interference that loss-free balancing avoids (arXiv 2408.15664,
section 2.2). These gradients are measured with `torch.autograd.grad`, which does not touch `.grad`: a run is
bit-identical with and without the probe.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.model import MoETransformer
from explorer.model.transformer import LayerOutput
from explorer.training.ranks import SINGLE_PROCESS, Ranks


def auxiliary_sum(layers: Sequence[LayerOutput]) -> Tensor | None:
    """Σ over layers of coefficient times auxiliary loss, a scalar with gradient; None without one."""
    parts = [layer.losses.auxiliary for layer in layers if layer.losses.auxiliary is not None]
    return torch.stack(parts).sum() if parts else None


def router_gradients(loss: Tensor, model: MoETransformer) -> Tensor:
    """d(loss)/d(router matrix) of every layer, float32 [L, E, D]; keeps the graph for the backward pass.

    0 for frozen routers.
    """
    weights: list[Tensor] = [router.weight_ED for router in model.routers]
    if not all(weight.requires_grad for weight in weights):
        return torch.zeros_like(torch.stack(weights), dtype=torch.float32, requires_grad=False)
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    pairs = zip(gradients, weights, strict=True)
    return torch.stack([torch.zeros_like(w) if g is None else g.float() for g, w in pairs])


class GradientProbe:
    """Sums both gradients over the micro-batches of one step, as the optimizer sees them.

    Before clipping. The z-loss is in neither: it does not balance.
    """

    def __init__(self, model: MoETransformer) -> None:
        self.model = model
        self.lm_LED: Tensor | None = None
        self.aux_LED: Tensor | None = None

    def add(self, lm_loss: Tensor, layers: Sequence[LayerOutput], share: float) -> None:
        """Add one micro-batch, before its backward pass; `share`: its weight in the step's objective.

        lm_loss: a scalar with gradient, nats per token.
        """
        if not self.model.routers:
            return
        lm_LED = router_gradients(lm_loss * share, self.model)
        self.lm_LED = lm_LED if self.lm_LED is None else self.lm_LED + lm_LED
        auxiliary = auxiliary_sum(layers)
        if auxiliary is not None:
            aux_LED = router_gradients(auxiliary * share, self.model)
            self.aux_LED = aux_LED if self.aux_LED is None else self.aux_LED + aux_LED

    @torch.no_grad()
    def figures(self, ranks: Ranks = SINGLE_PROCESS) -> dict[str, Tensor]:
        """Columns of `layer_steps`, [L] each; those of the auxiliary loss only if there is one.

        The cosine is NaN where one of the two gradients is exactly 0.
        """
        if self.lm_LED is None:
            return {}
        lm_LX = ranks.sum(self.lm_LED).flatten(1)
        lm_L = lm_LX.norm(dim=1)
        if self.aux_LED is None:
            return {"router_grad_norm_lm": lm_L}
        aux_LX = ranks.sum(self.aux_LED).flatten(1)
        aux_L = aux_LX.norm(dim=1)
        return {
            "router_grad_norm_lm": lm_L,
            "router_grad_norm_aux": aux_L,
            "router_grad_cosine": ((lm_LX * aux_LX).sum(1) / (lm_L * aux_L)).clamp(-1, 1),
        }


def probe_of(model: MoETransformer, interval: int, step: int) -> GradientProbe | None:
    """A probe on sampled steps, else None; interval 0: never."""
    return GradientProbe(model) if interval and step % interval == 0 else None
