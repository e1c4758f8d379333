"""Expert selection and gate weights. The bias enters the selection and never the gates."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.model import gates
from explorer.model.select import compared_scores, select
from explorer.routing.spec import RouteSpec, Selection


@dataclass(frozen=True)
class Routing:
    """The router's decision for T tokens of one layer."""

    router_logits_TE: Tensor
    scores_TE: Tensor
    """Unbiased scores, fp32, with gradient."""
    topk_expert_ids_TK: Tensor
    """K distinct experts per token, by biased score, best first.

    Where tokens may have fewer, K is the maximum and an empty slot holds E, one beyond the last expert.
    """
    gate_weights_TK: Tensor
    """From the unbiased scores of the chosen experts; 0 in a slot that is empty or not served."""
    served_TK: Tensor | None = None
    """False where a slot is empty or beyond its expert's capacity; None: every slot is served."""
    selection: Selection | None = None
    """Selection rule; None: tokens do not choose by score."""
    compared_TE: Tensor | None = None
    """The compared scores, without gradient: score with bias, -inf for experts the token may not use."""
    choosing_TE: Tensor | None = None
    """The scores in `compared_TE` before the bias, if noise makes them differ from `scores_TE`."""


Reroute = Callable[[Routing, int], Routing]
"""From the routing that an MoE layer chose and the layer's number to the routing that it uses.

Called before any capacity limit. Training never sets one (`training.micro_batches.pass_context`).
"""


@dataclass(frozen=True)
class ForwardContext:
    """Inputs of a forward pass beside the tokens and the weights."""

    is_training: bool = False
    """Enables noise and everything else that evaluation leaves out."""
    seed: int = 0
    """Seed of all random numbers in this pass; a repeated pass draws the same."""
    step_counts_LE: Tensor | None = None
    """Assignments of the whole optimizer step, where a loss needs them before the first backward pass."""
    earlier_counts_LE: Tensor | None = None
    """Assignments of this step's micro-batches before this one."""
    reroute: Reroute | None = None
    """Evaluation only: replaces the routing of every layer, see `Reroute`; None: as chosen."""


@dataclass(frozen=True)
class LayerContext:
    """The same for one MoE layer."""

    layer: int
    tokens_T: Tensor
    """Token ids, for a routing that depends on them."""
    is_training: bool = False
    seed: int = 0
    step_counts_E: Tensor | None = None
    earlier_counts_E: Tensor | None = None
    adjust: Callable[[Tensor], Tensor] | None = None
    """A balancing rule's transform of the selection scores, before the bias; None: identity."""
    reroute: Reroute | None = None

    @property
    def layer_seed(self) -> int:
        """Seed of this pass and layer."""
        return (self.seed * 1_000_003 + self.layer) % 2**63

    def generator(self, device: torch.device) -> torch.Generator:
        """Random generator of this pass and layer; reproducible from the seed."""
        return torch.Generator(device).manual_seed(self.layer_seed)


def route(
    router_logits_TE: Tensor,
    spec: RouteSpec,
    *,
    expert_bias_E: Tensor | None = None,
    choosing_logits_TE: Tensor | None = None,
    adjust: Callable[[Tensor], Tensor] | None = None,
) -> Routing:
    """Top-K of (unbiased score + bias); gate weights from the unbiased scores.

    s = G(logits), G sigmoid, softmax or sqrt-softplus (`gates.scores`); experts = TopK(s + b) (arXiv
    2408.15664, section 3.1), within the best groups (`groups`), or the fewest that reach `top_p` (`select`);
    gates g = s of the chosen experts, divided by their sum (DeepSeek-V3, arXiv 2412.19437, eq. 13) or as
    `spec.divide_by` says, and times `route_scale`.

    `spec.gate_func`: gates may use another function of the same logits than the selection scores: a
    bias can then act on sigmoid scores while the gates are a softmax (on softmax scores, of order
    1/E, the same u is a large step).
    `choosing_logits_TE`: select by these instead, with gates from `router_logits_TE` (selection noise).
    `adjust`: transform of the selection scores [T, E] before the bias is added; the gates never see it.

    Softmax before or after the top-K needs no option. The softmax over the K kept logits,
    e^x_i / Σ_kept e^x_j, is the softmax over all, e^x_i / Σ_all e^x_j, divided by the sum of the kept: the
    denominators cancel. So `softmax` divided by the chosen is softmax after top-K (Shazeer et al., Mixtral),
    and by nothing softmax before (Switch, OLMoE). K = 1 is the exception: after the top-K the gate is 1.

    Ties are broken by `torch.topk`; tests avoid them.
    """
    logits = router_logits_TE.float()
    scores_TE = gates.scores(logits, spec.score_func)
    choosing_TE = scores_TE.detach()
    if choosing_logits_TE is not None:
        choosing_TE = gates.scores(choosing_logits_TE.detach().float(), spec.score_func)
    if adjust is not None:
        choosing_TE = adjust(choosing_TE)
    compared_TE = compared_scores(choosing_TE, expert_bias_E, spec.bias_form, spec)
    ids_TK = select(compared_TE, choosing_TE, spec)
    return Routing(
        logits,
        scores_TE,
        ids_TK,
        gates.weigh(logits, scores_TE, ids_TK, spec),
        served_TK=None if spec.top_p is None else ids_TK < scores_TE.shape[-1],
        selection=spec,
        compared_TE=compared_TE,
        choosing_TE=None if choosing_logits_TE is None and adjust is None else choosing_TE,
    )


class Router(nn.Module):
    """Expert centroids (no router bias term) and the selection bias: common to every routing.

    A routing with extra state is a subclass beside its arithmetic (`token_choice.NoisyRouter`,
    `expert_choice.ThresholdRouter`, `controls.HashRouter`); `choose.make_router` picks the class.

    The bias is a float32 buffer: no gradient, not among the optimizer's parameters, no weight
    decay, saved with the model. Casting the module to bf16 leaves it unchanged.
    """

    expert_bias_E: Tensor

    def __init__(self, hidden_size: int, num_experts: int, init_std: float) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(num_experts, hidden_size))
        nn.init.normal_(self.weight_ED, std=init_std)
        self.register_buffer("expert_bias_E", torch.zeros(num_experts, dtype=torch.float32))

    def forward(self, x_TD: Tensor) -> Tensor:
        """Router logits [T, E], in float32 even under autocast: bf16 scores tie."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return F.linear(x_TD.float(), self.weight_ED.float())

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Buffers stay float32 when the module is cast (8 bits of mantissa lose the ranking)."""
        buffers = {name: b for name, b in self._buffers.items() if b is not None and b.dtype == torch.float32}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in buffers.items():
            moved = self._buffers[name]
            assert moved is not None
            if moved.dtype != torch.float32:
                self._buffers[name] = buffer.to(moved.device)
        return self


def sequence_counts(topk_expert_ids_TK: Tensor, num_sequences: int, num_experts: int) -> Tensor:
    """Integer assignments per sequence, int64 [B, E]; their sum over B is the layer's load.

    Uses a scatter, which unlike bincount does not make the host wait for a GPU.
    """
    ids_BX = topk_expert_ids_TK.reshape(num_sequences, -1)
    # The last column collects the empty slots.
    counts_BX = torch.zeros(num_sequences, num_experts + 1, dtype=torch.int64, device=ids_BX.device)
    return counts_BX.scatter_add_(1, ids_BX, torch.ones_like(ids_BX))[:, :num_experts]


def unbiased_choice(routing: Routing) -> Tensor:
    """Experts selected without the bias, by the same rule and with the same noise, int64 [T, K]."""
    assert routing.selection is not None
    scores_TE = routing.scores_TE.detach() if routing.choosing_TE is None else routing.choosing_TE
    compared_TE = compared_scores(scores_TE, None, "additive", routing.selection)
    return select(compared_TE, scores_TE, routing.selection)


def unbiased_top_k(routing: Routing) -> Tensor:
    """The top-K of the unbiased scores over all experts, ignoring groups; int64 [T, K]."""
    selection = routing.selection or Selection(top_k=routing.topk_expert_ids_TK.shape[1])
    scores_TE = routing.scores_TE.detach()
    return select(scores_TE, scores_TE, replace(selection, num_groups=1, top_k_groups=1))


def switched_slots(routing: Routing, top_k: int | None = None) -> Tensor:
    """How many assignments the bias changed: chosen experts that the same choice without it would not have.

    Scalar int64. The selection is recomputed, so that even among tied scores only changes by the bias count.
    `top_k`: K, if the routing does not carry it.
    """
    selection = routing.selection or Selection(top_k=top_k or routing.topk_expert_ids_TK.shape[1])
    ids_TK, num_experts = routing.topk_expert_ids_TK, routing.scores_TE.shape[-1]
    # The last column collects the empty slots: no bias brought them in.
    known_TX = torch.zeros(len(ids_TK), num_experts + 1, dtype=torch.bool, device=ids_TK.device)
    known_TX = known_TX.scatter(1, unbiased_choice(replace(routing, selection=selection)), True)
    known_TX[:, num_experts] = True
    return (~known_TX.gather(1, ids_TK)).sum()


def score_margin(compared_TE: Tensor, top_k: int) -> Tensor:
    """Mean gap between the K-th and the (K+1)-th compared score, a scalar in score units; NaN when K = E."""
    if top_k == compared_TE.shape[-1]:
        return compared_TE.new_full((), float("nan"))
    best = compared_TE.topk(top_k + 1, dim=-1).values
    return (best[:, -2] - best[:, -1]).mean()


def choice_margin(routing: Routing) -> Tensor | None:
    """Mean gap between the lowest selected and the highest rejected compared score; scalar.

    For a fixed K that is the K-th minus the (K+1)-th, see `score_margin`. With groups, among the experts
    that the token may use; with top-p, over the tokens that rejected any. None where no expert can be
    rejected, or tokens do not choose by score.
    """
    selection, compared_TE = routing.selection, routing.compared_TE
    if selection is None or compared_TE is None:
        return None
    num_experts = compared_TE.shape[-1]
    usable = num_experts // selection.num_groups * selection.top_k_groups
    if selection.top_p is None:
        return score_margin(compared_TE, selection.top_k) if selection.top_k < usable else None
    taken_T1 = (routing.topk_expert_ids_TK < num_experts).sum(-1, keepdim=True)
    sorted_TE = compared_TE.sort(dim=-1, descending=True).values
    worst_T1 = sorted_TE.gather(-1, taken_T1 - 1)
    best_left_T1 = sorted_TE.gather(-1, taken_T1.clamp_max(num_experts - 1))
    left_T1 = taken_T1 < usable
    gaps_T1 = (worst_T1 - best_left_T1).where(left_T1, 0.0)
    return gaps_T1.sum() / left_T1.sum()
