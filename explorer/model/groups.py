"""Group-limited routing: a token may only use the experts of its best groups.

Of G groups, each has E/G experts, in the order of their ids.
"""

from torch import Tensor


def within_best_groups(compared_TE: Tensor, num_groups: int, top_k_groups: int) -> Tensor:
    """The compared scores with -inf for every expert outside the token's best groups, [T, E].

    Source: DeepSeek-V3 (arXiv 2412.19437, section 2.1.2) and its inference code: a group's score is the sum
    of its two highest *biased* scores (the only one, where a group has one expert). Rejected groups
    are at -inf, not at 0: with zeros, experts of a rejected group win wherever the biases are negative.
    So a constant added to all biases changes nothing.

    Departures: the two highest also without a bias, where that inference code takes the highest; the
    paper's K_r / M highest is two for its sizes (8 experts of 4 groups). Groups only restrict the
    selection: there are no devices here.
    """
    if top_k_groups == num_groups:
        return compared_TE
    grouped_TGX = compared_TE.reshape(len(compared_TE), num_groups, -1)
    worth_TG = grouped_TGX.topk(min(2, grouped_TGX.shape[-1]), dim=-1).values.sum(-1)
    best_TX = worth_TG.topk(top_k_groups, dim=-1).indices
    rejected_TG = worth_TG.new_ones(worth_TG.shape).scatter(-1, best_TX, 0.0).bool()
    return grouped_TGX.masked_fill(rejected_TG.unsqueeze(-1), float("-inf")).flatten(1)
