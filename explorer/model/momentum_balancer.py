"""SMEBU: the bias update with a soft clamp and momentum."""

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.config.rules import Smebu
from explorer.model.balancer import Balancer
from explorer.routing.balancing import is_frozen, load_error, soft_clamped, with_momentum


class SmebuBalancing(Balancer):
    """Soft-clamped momentum expert bias updates (Arcee Trinity Large, arXiv 2602.17004).

    e = (mean load - load) / mean load;  d = tanh(κ e) - mean over the experts of tanh(κ e);
    m ← β m + (1 - β) u d,  m = 0 at the start;  b ← b + m.

    The abstract names the parts. Their order and the constants κ = 2 and β = 0.5 are taken from a
    secondary text; the report itself was not available. Centring and momentum are linear, so their order
    does not matter. u is ours: 0.003 like that of `loss_free` in these short runs. Frozen, m stays as well.
    """

    name = "smebu"
    bias_form = "additive"

    def __init__(self, rule: Smebu) -> None:
        super().__init__()
        self.rule = rule

    def rate(self, step: int) -> float:
        return 0.0 if is_frozen(self.rule.freeze_after_step, step) else self.rule.bias_update_rate

    @torch.no_grad()
    def update(
        self, expert_bias: Tensor, counts: Tensor, step: int, observed: Sequence[Tensor] | None = None
    ) -> None:
        rate = self.rate(step)
        if rate == 0.0:
            return
        move = rate * soft_clamped(load_error(counts), self.rule.sharpness)
        previous = self.memory.get("move", torch.zeros_like(move))
        self.memory["move"] = with_momentum(previous, move, self.rule.momentum)
        expert_bias += self.memory["move"].to(expert_bias.dtype)
