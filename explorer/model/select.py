"""Expert selection: the top K, or the fewest that reach p, within the token's groups.

Nothing here carries a gradient. `explorer.routing.routing_math` in torch.
"""

from torch import Tensor
from torch.nn import functional as F

from explorer.model.groups import within_best_groups
from explorer.routing.balancing import biased_scores
from explorer.routing.spec import Selection


def compared_scores(
    scores_TE: Tensor, expert_bias_E: Tensor | None, bias_form: str, selection: Selection
) -> Tensor:
    """The compared scores [T, E]: score with bias, -inf for an expert that the token may not use."""
    compared_TE = scores_TE
    if expert_bias_E is not None:
        compared_TE = biased_scores(compared_TE, expert_bias_E, bias_form)
    return within_best_groups(compared_TE, selection.num_groups, selection.top_k_groups)


def select(compared_TE: Tensor, scores_TE: Tensor, selection: Selection) -> Tensor:
    """The chosen experts, best first, int64 [T, K]; with top-p K = E, and an empty slot holds E."""
    if selection.top_p is None:
        return compared_TE.topk(selection.top_k, dim=-1).indices
    return _top_p(compared_TE, scores_TE, selection.top_p)


def _top_p(compared_TE: Tensor, scores_TE: Tensor, top_p: float) -> Tensor:
    """The fewest experts, in the order of the compared scores, whose normalised scores reach p.

    Source: Huang et al., arXiv 2403.07652, section 3.2: experts sorted by P = softmax(W x), the first t with
    P_1 + … + P_t >= p; at least one, and no upper bound. Departures: any score function, divided by its sum
    over the experts that the token may use; a bias changes the order, the sum stays that of the
    scores, so that a constant added to all biases changes nothing. The paper's entropy loss, which
    keeps P sharp, is not part of the routing.
    """
    order = compared_TE.sort(dim=-1, descending=True, stable=True)
    usable_TE = order.values > float("-inf")
    shares_TE = scores_TE.gather(-1, order.indices) * usable_TE
    shares_TE = shares_TE / shares_TE.sum(-1, keepdim=True).clamp_min(1e-20)
    # Cumulative score before each expert; 0 for the first, which is therefore always selected.
    before_TE = F.pad(shares_TE.cumsum(-1)[:, :-1], (1, 0))
    taken_TE = (before_TE < top_p) & usable_TE
    return order.indices.where(taken_TE, scores_TE.shape[-1])
