"""Router gradients of the language loss and of the auxiliary losses.

An auxiliary loss acts on the same weights as the language loss, and where their gradients point in different
directions the language loss suffers: the interference that loss-free balancing avoids (arXiv 2408.15664,
section 2.2). These gradients are measured with `torch.autograd.grad`, which does not touch `.grad`: a run is
bit-identical with and without the probe.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.config.rule_text import SCOPES, AuxLoss
from explorer.config.run import RunConfig
from explorer.corpus import Corpus
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext
from explorer.model.transformer import LayerOutput
from explorer.training.meters import assignments_LE
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


def auxiliary_gradient(model: MoETransformer, rule: AuxLoss, micro_batches: Sequence[Tensor]) -> Tensor:
    """Gradient of the step's auxiliary loss at all routers, [L, E, D], times its coefficient.

    micro_batches: token ids [B, S + 1] of each, equally weighted. Leaves the model unchanged.
    """
    balancer = CombinedBalancer([rule])
    inputs = [tokens[:, :-1] for tokens in micro_batches]
    step_LE: Tensor | None = None
    if balancer.needs_step_counts:
        with torch.no_grad():
            step_LE = torch.stack([assignments_LE(model(x, balancer).layers) for x in inputs]).sum(0)
    total: Tensor | None = None
    earlier_LE: Tensor | None = None
    for x in inputs:
        context = ForwardContext(is_training=True, step_counts_LE=step_LE, earlier_counts_LE=earlier_LE)
        layers = model(x, balancer, context).layers
        auxiliary = auxiliary_sum(layers)
        assert auxiliary is not None
        gradient = router_gradients(auxiliary / len(inputs), model)
        total = gradient if total is None else total + gradient
        here_LE = assignments_LE(layers)
        earlier_LE = here_LE if earlier_LE is None else earlier_LE + here_LE
    assert total is not None
    return total


@dataclass(frozen=True, kw_only=True)
class ScopeDifference:
    """Difference between the auxiliary gradients of a count scope and of the global batch."""

    relative: float
    """‖g - g_global‖ / ‖g_global‖ at all routers, mean over the steps."""
    cosine: float
    """Cosine between the two, mean over the steps."""
    lasting: float
    """Relative difference of the gradients summed over the steps: the part that does not average out."""


def scope_differences(
    model: MoETransformer, config: RunConfig, corpus: Corpus, accumulation: int, steps: Sequence[int] = (0,)
) -> dict[str, ScopeDifference]:
    """Scope -> difference of its auxiliary gradient from the global one, on the tokens of some steps.

    Each step's sequences are cut into `accumulation` micro-batches; the weights stay unchanged.
    """
    by_step = [_scope_gradients(model, config, corpus, accumulation, step) for step in steps]
    result = {}
    for scope in by_step[0].keys() - {"global_batch"}:
        pairs = [(gradients[scope], gradients["global_batch"]) for gradients in by_step]
        cosines = [torch.nn.functional.cosine_similarity(g, whole, dim=0) for g, whole in pairs]
        total, whole_total = (torch.stack(side).sum(0) for side in zip(*pairs, strict=True))
        result[scope] = ScopeDifference(
            relative=float(torch.stack([(g - w).norm() / w.norm() for g, w in pairs]).mean()),
            cosine=float(torch.stack(cosines).mean()),
            lasting=float((total - whole_total).norm() / whole_total.norm()),
        )
    return result


def _scope_gradients(
    model: MoETransformer, config: RunConfig, corpus: Corpus, accumulation: int, step: int
) -> dict[str, Tensor]:
    """Scope -> auxiliary gradient at all routers, flat, of one step's sequences."""
    training = config.training
    batch = corpus.batch(
        seed=training.seed,
        step=step,
        micro_batch=0,
        num_sequences=training.micro_batch_size,
        sequence_length=training.sequence_length,
    )
    device = next(model.parameters()).device
    parts = torch.from_numpy(batch.tokens).to(device).chunk(accumulation)
    return {
        scope: auxiliary_gradient(model, AuxLoss(coeff=1.0, scope=scope), parts).flatten() for scope in SCOPES
    }
