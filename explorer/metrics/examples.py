"""Example counts for the definitions: shapes on which other tools' metrics mislead.

Every example is counts [R, L, E]: R ranks, L layers, E experts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ConfigError, one_of

Counts = NDArray[np.int64]
MOST_EXPERTS = 1024
MOST_TOKENS = 10**12


def _capped(weights: NDArray[np.float64], top_k: int, tokens: int) -> Counts:
    """K T assignments in proportion to the weights, at most T per expert: each expert once per token."""
    experts = len(weights)
    loads = np.zeros(experts)
    free = np.ones(experts, dtype=bool)
    slots_left = float(top_k * tokens)
    while slots_left > 1e-9 and free.any() and weights[free].sum() > 0:
        shares = np.where(free, weights / weights[free].sum() * slots_left, 0.0)
        full = free & (loads + shares >= tokens)
        if not full.any():
            loads += shares
            break
        slots_left -= float((tokens - loads[full]).sum())
        loads[full] = tokens
        free &= ~full
    whole = np.floor(loads + 1e-9).astype(np.int64)
    # The largest remainders get the assignments lost by rounding.
    missing = top_k * tokens - int(whole.sum())
    order = np.argsort(-(loads - whole), kind="stable")
    order = order[whole[order] < tokens]
    whole[order[:missing]] += 1
    return whole


def _even(n: int, k: int, t: int) -> Counts:
    return _capped(np.ones(n), k, t)[None, None]


def _one_hot(n: int, k: int, t: int) -> Counts:
    return np.where(np.arange(n) < k, t, 0).astype(np.int64)[None, None]


def _half_dead(n: int, k: int, t: int) -> Counts:
    alive = max(k, n // 2)
    return _capped((np.arange(n) < alive).astype(float), k, t)[None, None]


def _zipf(n: int, k: int, t: int) -> Counts:
    return _capped(1.0 / np.arange(1, n + 1), k, t)[None, None]


def _chance(n: int, k: int, t: int) -> Counts:
    rng = np.random.default_rng(0)
    share = k / n
    if t <= 20_000:
        selected = (
            rng.random((t, n)).argpartition(k - 1, axis=-1)[:, :k] if k < n else np.tile(range(n), (t, 1))
        )
        return np.bincount(selected.ravel(), minlength=n).astype(np.int64)[None, None]
    loads = rng.binomial(t, share, n).astype(np.float64)
    return _capped(loads, k, t)[None, None]


def _two_layers(n: int, k: int, t: int) -> Counts:
    first = _one_hot(n, k, t)[0, 0]
    return np.stack([first, first[::-1]])[None]


def _four_ranks(n: int, k: int, t: int) -> Counts:
    own = _one_hot(n, k, t)[0, 0]
    return np.stack([np.roll(own, rank * n // 4) for rank in range(4)])[:, None]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One distribution of tokens over N experts."""

    key: str
    title: str
    text: str
    make: Callable[[int, int, int], Counts]


SHAPES: tuple[Shape, ...] = (
    Shape(key="even", title="even", text="Every expert has its uniform share.", make=_even),
    Shape(
        key="one_hot",
        title="one hot",
        text="All tokens take the same K experts: the worst that top-K routing can do.",
        make=_one_hot,
    ),
    Shape(
        key="half_dead", title="half dead", text="Half of the experts receive all tokens.", make=_half_dead
    ),
    Shape(key="zipf", title="Zipf", text="The popularity of expert i is proportional to 1/i.", make=_zipf),
    Shape(key="chance", title="chance", text="Every token takes K experts at random.", make=_chance),
    Shape(
        key="two_layers",
        title="two layers, collapsed apart",
        text="Two layers, each one hot, on opposite experts. Metrics that pool layers see no imbalance.",
        make=_two_layers,
    ),
    Shape(
        key="four_ranks",
        title="four ranks, each on its own experts",
        text="Four ranks of T tokens each, one hot on different experts. Together they are far more even "
        "than each of them.",
        make=_four_ranks,
    ),
)


def example(shape: str, num_experts: int, top_k: int, num_tokens: int) -> Counts:
    """Counts [R, L, E] of that shape; T tokens per rank, each with K different experts.

    Raises ConfigError for an unknown shape and for K beyond N.
    """
    one_of("shape", shape, [entry.key for entry in SHAPES])
    if not 1 <= top_k <= num_experts:
        raise ConfigError("top_k", top_k, f"must be 1 to {num_experts}, the number of experts", "lower it")
    return {entry.key: entry for entry in SHAPES}[shape].make(num_experts, top_k, num_tokens)


def parse_counts(text: str) -> Counts:
    """Counts [1, 1, E] from integers separated by commas or spaces.

    Raises ConfigError that names the invalid number and the rule.
    """
    words = text.replace(",", " ").replace(";", " ").split()
    for word in words:
        is_whole = word.isascii() and word.isdecimal() and len(word) <= len(str(MOST_TOKENS))
        if not is_whole or int(word) > MOST_TOKENS:
            raise ConfigError(
                "counts", word, f"must be a whole number from 0 to {MOST_TOKENS:,}", "give tokens per expert"
            )
    if not 2 <= len(words) <= MOST_EXPERTS:
        raise ConfigError(
            "counts", len(words), f"must be 2 to {MOST_EXPERTS} numbers, one per expert", "add or take some"
        )
    counts = np.array([int(word) for word in words], dtype=np.int64)
    if not counts.any():
        raise ConfigError("counts", text, "must hold at least one token", "make one of them larger than 0")
    return counts[None, None]
