"""Other expert selections at evaluation: static top-k, OEA and Lynx inside the forward pass.

Closed-loop: later layers and tokens see what the changed selection gives. Definitions and knobs are those of
the policies on logged scores. Shapes: T tokens, E experts, K experts per token, G groups of tokens that are
served together; `groups_T` holds each token's group, -1 for a token that keeps its full routing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from explorer.errors import ConfigError
from explorer.model import gates
from explorer.model.router import Routing
from explorer.routing.spec import RouteSpec
from explorer.tasks.trained import TrainedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """What a rule chooses from: one layer's preferences."""

    ranks_TE: Tensor
    """Rank of every expert for its token by compared score (with bias), 0 for the best, int64."""
    logits_TE: Tensor
    groups_T: Tensor
    num_groups: int
    top_k: int
    """K of full routing."""


class SelectionRule(Protocol):
    """A rule, as a frozen value."""

    @property
    def label(self) -> str:
        """Name with knobs, for tables."""

    @property
    def needs_batch(self) -> bool:
        """Whether a token's experts depend on the other tokens of its group."""

    def mask(self, choice: Choice) -> Tensor:
        """The experts of each token, bool [T, E]; rows of tokens without group are ignored."""


@dataclass(frozen=True)
class StaticTopK:
    """Every token's k best experts; k = K is full routing."""

    k: int
    needs_batch = False

    @property
    def label(self) -> str:
        return f"top-{self.k}"

    def mask(self, choice: Choice) -> Tensor:
        return choice.ranks_TE < self.k


@dataclass(frozen=True)
class Oea:
    """OEA (arXiv 2511.02237): a token keeps its k0 best, then fills up to K from what its group keeps."""

    k0: int
    needs_batch = True

    @property
    def label(self) -> str:
        return f"OEA k0={self.k0}"

    def mask(self, choice: Choice) -> Tensor:
        kept_GE = _any_per_group(choice.ranks_TE < self.k0, choice)
        return _best_among(choice, kept_GE)


@dataclass(frozen=True)
class Lynx:
    """Lynx (arXiv 2411.08982, version 3): K experts per token from those that its group scores highest.

    An expert's score is B^bin summed over the B tokens, bin = floor(alpha · (logit - logit of the first
    choice)), from 0 down to -beta. Kept are the highest-scored experts, and the first choice of every token
    whose second choice lies in a lower bin. alpha, beta and the cut-off are not published; nor is what
    happens at equal scores, which go to the experts with the lower sum of ranks. The same rule on logged
    scores is `routing.batch_selection.lynx`.
    """

    keep: float = 0.5
    """Share of the group's distinct experts under full routing that is kept, at least K of them."""
    alpha: float = 1.0
    beta: int = 4
    needs_batch = True

    @property
    def label(self) -> str:
        return f"Lynx keep={self.keep:g}"

    def mask(self, choice: Choice) -> Tensor:
        ranks_TE, logits_TE = choice.ranks_TE, choice.logits_TE.double()
        first_T1 = logits_TE.gather(1, ranks_TE.argmin(1, keepdim=True))
        bins_TE = (self.alpha * (logits_TE - first_T1)).floor().clamp(-self.beta, 0)
        in_group_T = choice.groups_T >= 0
        place_T = choice.groups_T.clamp_min(0)
        size_G = torch.zeros(choice.num_groups, dtype=torch.float64, device=place_T.device)
        size_G.index_add_(0, place_T, in_group_T.double())
        weights_TE = size_G.clamp_min(2)[place_T, None] ** bins_TE * in_group_T[:, None]
        score_GE = torch.zeros(
            choice.num_groups, ranks_TE.shape[1], dtype=torch.float64, device=place_T.device
        )
        score_GE.index_add_(0, place_T, weights_TE)
        full_G = _any_per_group(ranks_TE < choice.top_k, choice).sum(1)
        number_G1 = (self.keep * full_G - 1e-9).ceil().clamp_min(choice.top_k)[:, None]
        second_T1 = bins_TE.masked_fill(ranks_TE != 1, -self.beta).amax(1, keepdim=True)
        sure_TE = (ranks_TE == 0) & (second_T1 < 0)
        # Experts in the same bins score alike: those that tokens rank higher come first, so that a token
        # alone keeps its own experts.
        own_TE = (ranks_TE * in_group_T[:, None]).double()
        rank_sums_GE = torch.zeros_like(score_GE).index_add_(0, place_T, own_TE)
        highest_GE = ranks(score_GE, -rank_sums_GE) < number_G1
        return _best_among(choice, highest_GE | _any_per_group(sure_TE, choice))


def ranks(values_XE: Tensor, second_XE: Tensor | None = None) -> Tensor:
    """Rank of every value in its row, 0 for the largest, int64.

    Equal values: the larger second value comes first, then the lower index.
    """
    if second_XE is None:
        order_XE = values_XE.argsort(dim=1, descending=True, stable=True)
    else:
        by_second_XE = second_XE.argsort(dim=1, descending=True, stable=True)
        within_XE = values_XE.gather(1, by_second_XE).argsort(dim=1, descending=True, stable=True)
        order_XE = by_second_XE.gather(1, within_XE)
    places_XE = torch.arange(values_XE.shape[1], device=values_XE.device).expand_as(order_XE)
    return torch.empty_like(order_XE).scatter_(1, order_XE, places_XE)


def _counts_per_group(mask_TE: Tensor, choice: Choice) -> Tensor:
    """Tokens of every expert in each group, int64 [G, E]."""
    inside_TE = mask_TE & (choice.groups_T >= 0)[:, None]
    counts_GE = torch.zeros(choice.num_groups, mask_TE.shape[1], dtype=torch.int64, device=mask_TE.device)
    return counts_GE.index_add_(0, choice.groups_T.clamp_min(0), inside_TE.long())


def _any_per_group(mask_TE: Tensor, choice: Choice) -> Tensor:
    """Which experts at least one token of each group has, bool [G, E]."""
    return _counts_per_group(mask_TE, choice) > 0


def _best_among(choice: Choice, kept_GE: Tensor) -> Tensor:
    """Every token's K best of the experts that its group keeps; fewer where fewer are kept."""
    num_experts = choice.ranks_TE.shape[1]
    allowed_TE = kept_GE[choice.groups_T.clamp_min(0)]
    return (ranks(-choice.ranks_TE.where(allowed_TE, num_experts)) < choice.top_k) & allowed_TE


@dataclass
class Reselection:
    """A `Reroute`: applies a rule to the groups and counts the distinct experts of each."""

    rule: SelectionRule
    groups_T: Tensor
    distinct: list[int] = field(default_factory=list)
    """Σ over groups of the distinct experts, for each layer in the order of the pass."""
    assignments: list[int] = field(default_factory=list)
    """Σ over the groups' tokens of their experts, per layer."""
    busiest: list[int] = field(default_factory=list)
    """Σ over groups of the tokens of the busiest expert, per layer."""

    def __post_init__(self) -> None:
        self.num_groups = int(self.groups_T.max()) + 1 if len(self.groups_T) else 0

    def __call__(self, routing: Routing, layer: int) -> Routing:
        spec, compared_TE = routing.selection, routing.compared_TE
        assert isinstance(spec, RouteSpec)
        assert compared_TE is not None
        choice = Choice(
            ranks_TE=ranks(compared_TE),
            logits_TE=routing.router_logits_TE,
            groups_T=self.groups_T.to(compared_TE.device),
            num_groups=max(1, self.num_groups),
            top_k=spec.top_k,
        )
        inside_T1 = choice.groups_T[:, None] >= 0
        mask_TE = torch.where(inside_T1, self.rule.mask(choice), choice.ranks_TE < spec.top_k)
        counts_GE = _counts_per_group(mask_TE, choice)
        self.distinct.append(int((counts_GE > 0).sum()))
        self.assignments.append(int(counts_GE.sum()))
        self.busiest.append(int(counts_GE.amax(1).sum()))
        return with_experts(routing, choice.ranks_TE, mask_TE)


def with_experts(routing: Routing, ranks_TE: Tensor, mask_TE: Tensor) -> Routing:
    """The routing with the experts of the mask, best first, and the gates that the router gives them.

    Where tokens have different numbers of experts there is one slot per expert, and empty ones hold E.
    """
    spec = routing.selection
    assert isinstance(spec, RouteSpec)
    num_experts = mask_TE.shape[1]
    sizes_T = mask_TE.sum(1)
    slots = int(sizes_T.max())
    order_TE = ranks_TE.where(mask_TE, num_experts + ranks_TE).argsort(1)
    is_even = bool((sizes_T == slots).all())
    ids_TK = order_TE[:, :slots] if is_even else order_TE
    served_TK = None
    if not is_even:
        served_TK = torch.arange(num_experts, device=ids_TK.device) < sizes_T[:, None]
        ids_TK = ids_TK.where(served_TK, num_experts)
    weights_TK = gates.weigh(routing.router_logits_TE, routing.scores_TE, ids_TK, spec)
    return replace(
        routing,
        topk_expert_ids_TK=ids_TK,
        gate_weights_TK=weights_TK,
        served_TK=served_TK,
        selection=replace(spec, top_k=slots),
    )


def decode_groups(num_sequences: int, length: int, batch: int) -> Tensor:
    """Groups of a decoding batch: `batch` sequences, one token each, at the same position. int64 [B · S].

    Sequences beyond the last whole batch form a smaller one.
    """
    blocks_B1 = (torch.arange(num_sequences) // batch)[:, None]
    return (blocks_B1 * length + torch.arange(length)).flatten()


def prefill_groups(num_sequences: int, length: int, batch: int) -> Tensor:
    """Groups of a prefill: all tokens of `batch` sequences at once. int64 [B · S]."""
    return (torch.arange(num_sequences) // batch).repeat_interleave(length)


def check_selectable(trained: TrainedModel) -> None:
    """Refuse a model whose tokens do not choose a fixed number of experts by score."""
    config = trained.config.model
    if config.routing != "token_choice":
        raise ConfigError(
            "model.routing",
            config.routing,
            "leaves no selection by score that could be replaced",
            "evaluate a model with routing=token_choice",
        )
    for name in ("top_p", "capacity_factor"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"model.{name}",
                getattr(config, name),
                "makes the number of experts per token vary, which these selections do not define",
                "evaluate a model without it",
            )


def default_rules(top_k: int, num_experts: int) -> Sequence[SelectionRule]:
    """Static k from 1 to 4 and K, OEA at up to three k0 below K, Lynx at two cut-offs."""
    static = sorted({k for k in (1, 2, 3, 4, top_k) if k <= num_experts})
    k0 = sorted({k for k in (1, top_k // 4, top_k // 2) if 0 < k < top_k})
    return [*map(StaticTopK, static), *map(Oea, k0), Lynx(0.5), Lynx(0.75)]
