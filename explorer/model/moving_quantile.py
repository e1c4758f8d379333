"""A bias for every token from the scores that its sequence has shown so far.

Shapes: B sequences, S positions, T = B·S tokens, E (in formulas N) experts, M bins of the scores.
"""

import torch
from torch import Tensor

CHUNK = 128
"""Positions that are worked out at once; the result does not depend on it."""


@torch.no_grad()
def moving_quantiles(
    scores_TE: Tensor, num_sequences: int, top_k: int, *, decay: float, num_bins: int
) -> Tensor:
    """β_ij: the (1 - K/N)-quantile of expert j's scores up to token i of its sequence, [T, E].

    h_ij = one-hot of ⌊M s_ij⌋,  h̄_i = γ h̄_{i-1} + (1 - γ) h_i,  m* = the first bin at which the sum of h̄_ij
    reaches 1 - K/N,  β_ij = (m* + ½) / M. Token i's own score takes part, later ones never do: causal.

    Source: "Moving Quantile Balancing", Su, "MoE 8: enforcing sequence-level balance" (kexue.fm 11760,
    2026), as three texts about it agree (γ = 0.99, M = 100); the article itself could not be read. None
    of them says how h̄ begins: here it begins empty and is divided by its mass 1 - γ^i, so that no prior
    takes part and the first token's β is its own score's bin.

    Scores in [0, 1]. The sums over positions are a product with a triangle of weights, in pieces of
    `CHUNK` positions, so that memory and work grow with the length and not with its square.
    """
    num_experts = scores_TE.shape[-1]
    scores_BSE = scores_TE.float().view(num_sequences, -1, num_experts)
    bins = torch.arange(num_bins, device=scores_TE.device)
    reached_BX = scores_TE.new_zeros(num_sequences, 1, num_experts * num_bins)
    mass, parts = 0.0, []
    with torch.autocast(scores_TE.device.type, enabled=False):
        for chunk_BCE in torch.split(scores_BSE, CHUNK, dim=1):
            length = chunk_BCE.shape[1]
            index_BCE1 = (chunk_BCE * num_bins).long().clamp(0, num_bins - 1)[..., None]
            below_BCX = (index_BCE1 <= bins).float().flatten(2)
            since_CC = torch.arange(length, device=bins.device)
            since_CC = since_CC[:, None] - since_CC
            weights_CC = ((1 - decay) * decay ** since_CC.clamp_min(0).float()).tril()
            fading_C1 = decay ** torch.arange(1, length + 1, device=bins.device).float()[:, None]
            all_BCX = weights_CC @ below_BCX + fading_C1 * reached_BX
            masses_C1 = weights_CC.sum(-1, keepdim=True) + fading_C1 * mass
            reached_BX, mass = all_BCX[:, -1:], float(1 - (1 - mass) * decay**length)
            # A hair below, so that rounding in the sums does not move a quantile that is met exactly.
            level_C1 = (1 - top_k / num_experts) * (1 - 1e-6) * masses_C1
            place_BCE = (all_BCX < level_C1).view(*chunk_BCE.shape, num_bins).sum(-1)
            parts.append((place_BCE.clamp_max(num_bins - 1) + 0.5) / num_bins)
    return torch.cat(parts, dim=1).view_as(scores_TE)
