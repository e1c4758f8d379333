"""Specialisation metrics: how differently the domains of the text use the experts.

counts: [..., D, E] held-out assignments by domain. Every domain weighs the same, however much text it has.
Expert numbers belong to one layer, so layers are never summed.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import load_fraction

Floats = NDArray[np.float64]


def _entropy_bits(share: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(share > 0, share * np.log2(share), np.where(np.isnan(share), np.nan, 0.0))
    return np.asarray(-terms.sum(-1))


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> Floats:
    """Jensen-Shannon distance of two load profiles, [..., E] twice -> [...]: the square root of the
    divergence H((p + q)/2) - (H(p) + H(q))/2 in bits.

    0 for the same profile, 1 when no expert serves both. It is a metric (triangle inequality). NaN when
    one of the two has no token. Source: Endres and Schindelin 2003.
    """
    p, q = load_fraction(first), load_fraction(second)
    divergence = _entropy_bits((p + q) / 2) - (_entropy_bits(p) + _entropy_bits(q)) / 2
    return np.sqrt(np.clip(divergence, 0.0, 1.0))


def domain_distances(counts: ArrayLike) -> Floats:
    """Jensen-Shannon distance of every two domains, [..., D, E] -> [..., D, D]; zeros on the diagonal."""
    array = np.asarray(counts)
    return jensen_shannon(array[..., :, None, :], array[..., None, :, :])


def mean_domain_distance(counts: ArrayLike) -> Floats:
    """Mean Jensen-Shannon distance over all pairs of different domains, [..., D, E] -> [...].

    0 when all domains use the experts alike, 1 when no two share an expert; NaN for a single domain.
    """
    distances = domain_distances(counts)
    domains = distances.shape[-1]
    if domains < 2:
        return np.full(distances.shape[:-2], np.nan)
    return np.asarray(distances.sum((-2, -1)) / (domains * (domains - 1)))


def mutual_information(counts: ArrayLike) -> Floats:
    """Mutual information of domain and expert in bits, domains equally likely: H(mean_d p_d) - mean_d H(p_d).
    [..., D, E] -> [...].

    What the chosen expert tells about the domain. 0 when all domains use the experts alike, log2 D when no
    two share one (at most log2 N). With two domains it is the square of their Jensen-Shannon distance.
    Counting noise alone adds `mutual_information_chance`. NaN when a domain has no token.
    """
    share = load_fraction(counts)
    gain = _entropy_bits(share.mean(-2)) - _entropy_bits(share).mean(-1)
    return np.asarray(np.maximum(gain, 0.0))


def mutual_information_chance(num_domains: int, num_experts: int, assignments: float) -> float:
    """What `mutual_information` would show by counting noise alone, about (D - 1)(N - 1) / (2 A ln 2) bits.

    assignments: A, of all domains together, if independent. Tokens of one text are not, so the real
    noise is larger. Source: Miller 1955 (bias of the plug-in estimate).
    """
    return (num_domains - 1) * (num_experts - 1) / (2 * assignments * math.log(2))
