"""Experts of limited capacity: which assignments are served, and GShard's random second expert.

Demand is counted before any of this, and every bias and loss sees demand: counts taken after
the cut would never exceed the capacity, and hide overload from the bias where it is worst.
"""

import math
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from explorer.model.router import Routing


def capacity(capacity_factor: float, num_tokens: int, top_k: int, num_experts: int) -> int:
    """ceil(f · K · T / E), exactly: 1.1 times 10 is 11, which floats would round up to 12."""
    return math.ceil(Fraction(str(capacity_factor)) * top_k * num_tokens / num_experts)


def limited(routing: Routing, capacity_factor: float, drop_policy: str, top_k: int) -> Routing:
    """The routing with assignments beyond the experts' capacity dropped.

    Sources: GShard (arXiv 2006.16668, algorithm 1), Switch (arXiv 2101.03961, eq. 3): an expert serves at
    most f · K · T / E assignments, T the tokens of the micro-batch. A dropped slot keeps its expert, has gate
    0, and only counts as demand. The other gates of its token stay as they are: neither paper
    renormalises the remaining gates.

    probability  the largest gates are served, as Megatron's `probs` policy has it. Whether a token is
                 served then depends on later tokens of its sequence: that is not causal, evaluation included
    position     first choices before second ones, each in the order of the tokens (GShard)

    Ties go to the earlier choice, then to the earlier token. Departure: there is no separate capacity
    for evaluation, which GShard's implementations have.
    """
    num_tokens, _ = routing.topk_expert_ids_TK.shape
    num_experts = routing.scores_TE.shape[-1]
    most = capacity(capacity_factor, num_tokens, top_k, num_experts)
    gates_TK = routing.gate_weights_TK.detach() if drop_policy == "probability" else None
    served_TK = within_capacity(routing.topk_expert_ids_TK, gates_TK, num_experts, most)
    if routing.served_TK is not None:
        served_TK = served_TK & routing.served_TK
    gates = routing.gate_weights_TK * served_TK
    return replace(routing, gate_weights_TK=gates, served_TK=served_TK)


def within_capacity(ids_TK: Tensor, priority_TK: Tensor | None, num_experts: int, most: int) -> Tensor:
    """True for the first `most` assignments of every expert, False in empty slots; bool [T, K].

    First by priority, the largest before the others, then by slot, then by token.
    """
    ids_A = ids_TK.t().flatten()
    order_A = torch.arange(len(ids_A), device=ids_A.device)
    if priority_TK is not None:
        order_A = priority_TK.t().flatten().argsort(descending=True, stable=True)
    # Sorting by expert after sorting by priority leaves each expert's assignments in order of priority.
    order_A = order_A[ids_A[order_A].argsort(stable=True)]
    sorted_A = ids_A[order_A]
    first_X = torch.searchsorted(sorted_A, torch.arange(num_experts + 1, device=ids_A.device))
    place_A = torch.arange(len(ids_A), device=ids_A.device) - first_X[sorted_A]
    served_A = torch.zeros_like(ids_A, dtype=torch.bool)
    served_A[order_A] = (place_A < most) & (sorted_A < num_experts)
    return served_A.view(ids_TK.shape[1], ids_TK.shape[0]).t()


def random_second(routing: Routing, generator: torch.Generator) -> Routing:
    """The second expert with probability min(1, 2 · g2), g normalised over the two (K = 2).

    Source: GShard (arXiv 2006.16668, section 2.2 and algorithm 1). Where it is not used the slot is empty
    and makes no demand; the first keeps its gate, which is not renormalised. A bias can put the
    larger gate second, hence the min. Departure: evaluation uses both, so that held-out losses are
    deterministic.
    """
    gates_TK = routing.gate_weights_TK
    share_T = (gates_TK[:, 1] / gates_TK.sum(-1).clamp_min(1e-20)).detach()
    drawn_T = torch.rand(share_T.shape, generator=generator, device=share_T.device)
    served_TK = torch.stack([torch.ones_like(drawn_T, dtype=torch.bool), drawn_T < 2 * share_T], dim=-1)
    return replace(
        routing,
        topk_expert_ids_TK=routing.topk_expert_ids_TK.where(served_TK, routing.scores_TE.shape[-1]),
        gate_weights_TK=gates_TK * served_TK,
        served_TK=served_TK,
    )
