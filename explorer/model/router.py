"""Choosing experts and weighing them. The bias enters the first and never the second.

Shapes: T tokens, D model width, E experts, K top-k.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explorer.balancing import biased_scores


@dataclass(frozen=True)
class Routing:
    """What the router decided for T tokens of one layer."""

    router_logits_TE: Tensor
    scores_TE: Tensor
    """Unbiased scores, fp32, with gradient."""
    topk_expert_ids_TK: Tensor
    """K distinct experts per token, by biased score, best first.

    Where tokens may have fewer, K is the most and an empty slot holds E, one beyond the last expert.
    """
    gate_weights_TK: Tensor
    """From the unbiased scores of the chosen experts; 0 in a slot that is empty or not served."""
    served_TK: Tensor | None = None
    """False where a slot is empty or beyond its expert's capacity; None: every slot is served."""


@dataclass(frozen=True)
class ForwardContext:
    """What a forward pass may depend on beside the tokens and the weights."""

    is_training: bool = False
    """Noise, learned or drawn, and other things that evaluation leaves out."""
    seed: int = 0
    """Of everything random in this pass; a repeated pass draws the same."""
    step_counts_LE: Tensor | None = None
    """Assignments of the whole optimizer step, where a loss needs them before the first backward pass."""
    earlier_counts_LE: Tensor | None = None
    """Assignments of this step's micro-batches before this one."""


@dataclass(frozen=True)
class LayerContext:
    """The same for one mixture layer."""

    layer: int
    tokens_T: Tensor
    """Token ids, for a routing that depends on them."""
    is_training: bool = False
    seed: int = 0
    step_counts_E: Tensor | None = None
    earlier_counts_E: Tensor | None = None

    def generator(self, device: torch.device) -> torch.Generator:
        """Random numbers of this pass and layer; the same again for the same seed."""
        return torch.Generator(device).manual_seed((self.seed * 1_000_003 + self.layer) % 2**63)


def route(
    router_logits_TE: Tensor,
    *,
    top_k: int,
    score_func: str = "sigmoid",
    normalize_gates: bool = True,
    route_scale: float = 1.0,
    expert_bias_E: Tensor | None = None,
    bias_form: str = "additive",
) -> Routing:
    """Top-K of (unbiased score + bias); gate weights from the unbiased scores.

    s = G(logits), G sigmoid or softmax; experts = TopK(s + b) (arXiv 2408.15664, section 3.1);
    gates g = s of the chosen, divided by their sum if `normalize_gates` (DeepSeek-V3, arXiv
    2412.19437, eq. 13) and times `route_scale`. With K = 1 the gates are never normalised: they
    would be 1 whatever the router says, and the language loss could not reach it.
    Ties go to whatever `torch.topk` prefers; tests avoid them.
    """
    logits = router_logits_TE.float()
    scores_TE = logits.sigmoid() if score_func == "sigmoid" else logits.softmax(-1)
    compared_TE = scores_TE.detach()
    if expert_bias_E is not None:
        compared_TE = biased_scores(compared_TE, expert_bias_E, bias_form)
    ids_TK = compared_TE.topk(top_k, dim=-1).indices
    gates_TK = scores_TE.gather(-1, ids_TK)
    if normalize_gates and top_k > 1:
        gates_TK = gates_TK / gates_TK.sum(-1, keepdim=True).clamp_min(1e-20)
    if route_scale != 1.0:
        gates_TK = gates_TK * route_scale
    return Routing(logits, scores_TE, ids_TK, gates_TK)


class Router(nn.Module):
    """Expert centroids (no router bias term) and the selection bias.

    The bias is a float32 buffer: no gradient, not among the optimizer's parameters, no weight
    decay, saved with the model. Moving the module to bf16 leaves it alone.
    """

    expert_bias_E: Tensor
    threshold_E: Tensor | None
    """Cut-offs of expert-threshold routing, float32, saved with the model; None in any other routing."""
    hash_table_VK: Tensor | None
    """Experts of every token id in hash routing; made anew from its seed, so never saved."""

    def __init__(self, hidden_size: int, num_experts: int, init_std: float) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(num_experts, hidden_size))
        nn.init.normal_(self.weight_ED, std=init_std)
        self.register_buffer("expert_bias_E", torch.zeros(num_experts, dtype=torch.float32))
        # Put in place by `choose.equip` where the routing needs them.
        self.register_buffer("threshold_E", None)
        self.register_buffer("hash_table_VK", None, persistent=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Router logits [T, E], in float32 also under autocast: bf16 scores tie."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return nn.functional.linear(x_TD.float(), self.weight_ED.float())

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Whatever casts the module, its buffers stay float32 (8 bits of mantissa lose the ranking)."""
        kept = {name: b for name, b in self._buffers.items() if b is not None and b.dtype == torch.float32}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            moved = self._buffers[name]
            assert moved is not None
            if moved.dtype != torch.float32:
                self._buffers[name] = buffer.to(moved.device)
        return self


def sequence_counts(topk_expert_ids_TK: Tensor, num_sequences: int, num_experts: int) -> Tensor:
    """Integer assignments per sequence, int64 [B, E]; their sum over B is the layer's load.

    Built with a scatter, which unlike bincount does not make the host wait for a GPU.
    """
    ids_BX = topk_expert_ids_TK.reshape(num_sequences, -1)
    # The last column takes the empty slots.
    counts_BX = torch.zeros(num_sequences, num_experts + 1, dtype=torch.int64, device=ids_BX.device)
    return counts_BX.scatter_add_(1, ids_BX, torch.ones_like(ids_BX))[:, :num_experts]


def switched_slots(routing: Routing, top_k: int) -> Tensor:
    """How many assignments the bias changed: chosen experts outside the unbiased top-K. Scalar int64."""
    scores = routing.scores_TE.detach()
    kth_T1 = scores.topk(top_k, dim=-1).values[:, -1:]
    return (scores.gather(-1, routing.topk_expert_ids_TK) < kth_T1).sum()


def score_margin(compared_TE: Tensor, top_k: int) -> Tensor:
    """Mean gap between the K-th and the (K+1)-th compared score; NaN when K = E."""
    if top_k == compared_TE.shape[-1]:
        return compared_TE.new_full((), float("nan"))
    best = compared_TE.topk(top_k + 1, dim=-1).values
    return (best[:, -2] - best[:, -1]).mean()
