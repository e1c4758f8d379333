"""A bias per token from the scores of its sequence so far."""

import math

import torch
from torch import Tensor

CHUNK = 32
"""Maximum number of positions computed at once; does not affect the result."""


@torch.no_grad()
def moving_quantiles(
    scores_TE: Tensor, num_sequences: int, top_k: int, *, decay: float, num_bins: int
) -> Tensor:
    """β_ij: the (1 - K/N)-quantile of expert j's scores up to token i of its sequence, [T, E].

    h_ij = one-hot of ⌊M s_ij⌋,  h̄_i = γ h̄_{i-1} + (1 - γ) h_i,  m* = the first bin at which the sum of
    h̄_ij reaches 1 - K/N,  β_ij = (m* + ½) / M. Token i's own score is included, later ones never are:
    causal.

    Source: "Moving Quantile Balancing", Su, "MoE 8: enforcing sequence-level balance" (kexue.fm 11760,
    2026), as described consistently by three secondary texts (γ = 0.99, M = 100); the article itself was not
    available. None says how h̄ starts: here it starts empty and is divided by its mass 1 - γ^i, so that
    there is no prior and the first token's β is the bin of its own score.

    Scores in [0, 1]. Within a piece of the sequence the weights grow as γ^-i instead of decaying, so that
    all positions come from one running sum; memory grows with the length of the piece.
    """
    num_experts = scores_TE.shape[-1]
    bins_BSE = (scores_TE.view(num_sequences, -1, num_experts) * num_bins).long().clamp(0, num_bins - 1)
    # Slightly below 1 - K/N, so that rounding does not miss a level that is reached exactly.
    level = (1 - top_k / num_experts) * (1 - 1e-6)
    known_BEM = scores_TE.new_zeros(num_sequences, num_experts, num_bins, dtype=torch.float32)
    mass, places = 0.0, []
    for piece_BCE in torch.split(bins_BSE, _piece_length(decay), dim=1):
        length = piece_BCE.shape[1]
        weights_C = decay ** -torch.arange(length, device=scores_TE.device, dtype=torch.float32)
        sums_CBEM = _running_sums(piece_BCE.transpose(0, 1), weights_C, decay * known_BEM)
        levels_C = level * (weights_C.cumsum(0) + decay * mass)
        levels_CBE1 = levels_C[:, None, None, None].expand(*sums_CBEM.shape[:3], 1).contiguous()
        found_CBE1 = torch.searchsorted(sums_CBEM.cumsum(-1), levels_CBE1)
        places.append(found_CBE1[..., 0].clamp_max(num_bins - 1))
        known_BEM = sums_CBEM[-1] * decay ** (length - 1)
        mass = sum(decay**c for c in range(length)) + decay**length * mass
    return (torch.cat(places).transpose(0, 1).reshape_as(scores_TE) + 0.5) / num_bins


def _running_sums(bins_CBE: Tensor, weights_C: Tensor, before_BEM: Tensor) -> Tensor:
    """Cumulative weight of each bin at every position, [C, B, E, M]; `before` is the initial value."""
    sums = before_BEM.new_zeros(*bins_CBE.shape, before_BEM.shape[-1])
    sums.scatter_(3, bins_CBE[..., None], weights_C[:, None, None, None].expand(*bins_CBE.shape, 1))
    sums[0] += before_BEM
    return torch.cumsum(sums, 0, out=sums)


def _piece_length(decay: float) -> int:
    """Number of positions for which γ^-c stays below 10,000, so that float32 sums stay accurate."""
    if decay == 0:
        return 1
    return max(1, min(CHUNK, int(math.log(10_000) / -math.log(decay))))
