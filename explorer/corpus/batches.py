"""Batches for training steps, evaluation and the probe.

Nothing here keeps state. The sequence at global position i of a step (micro-batch number times
its size, plus the place in it) is a function of (seed, step, i) and of nothing else. So a resumed run
sees the batches of the uninterrupted one, and four micro-batches of 16 together contain exactly
the sequences of one of 64: runs that differ only in count scope train on the same data.

Shapes: B sequences, S tokens of input each, so S + 1 tokens with the last target.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.corpus.tokenizer import Ids
from explorer.errors import CorpusError

U64 = NDArray[np.uint64]
GOLDEN = 0x9E3779B97F4A7C15
MASK = 0xFFFFFFFFFFFFFFFF
MAX_EVAL_SEQUENCES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Sequences for training or for the probe."""

    tokens: Ids
    """[B, S + 1]; inputs are `tokens[:, :-1]`, targets `tokens[:, 1:]`."""
    domain_ids: Ids
    """[B], indices into `Corpus.domains`."""
    domain_names: list[str]
    """[B], the domain of every sequence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutBatch(Batch):
    """Held-out sequences of one domain."""

    domain: str
    num_tokens: int
    """Target tokens, B * S."""
    num_bytes: int
    """Bytes of text of the target tokens."""
    missing_tokens: int
    """Tokens by which the domain falls short of its share; 0 unless its text is too short."""


def mix64(values: U64) -> U64:
    """The output function of splitmix64 (Steele, Lea and Flood 2014): bits that look random."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _stream(*parts: int) -> int:
    """Hash all parts, in order, to one 64-bit number."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        state = mix64(state ^ np.uint64((part * GOLDEN + 1) & MASK))
    return int(state[0])


def plan_domains(seed: int, step: int, positions: Ids, num_domains: int) -> Ids:
    """Domain of every position of a step, [B] -> [B].

    Each block of D positions holds every domain once, in an order that is reshuffled every D steps and
    rotated by one in between: over D steps every position gets every domain once, and all domains
    are equally frequent for any number of sequences.
    """
    rounds, places = np.divmod(positions, num_domains)
    cycle, turn = divmod(step, num_domains)
    numbers = rounds[:, None] * num_domains + np.arange(num_domains)
    keys = numbers.astype(np.uint64) ^ np.uint64(_stream(seed, 1, cycle))
    with np.errstate(over="ignore"):
        order = mix64(keys * np.uint64(GOLDEN)).argsort(-1, kind="stable")
    return np.take_along_axis(order, ((places + turn) % num_domains)[:, None], -1)[:, 0].astype(np.int64)


def plan_starts(seed: int, step: int, positions: Ids, domain_ids: Ids, num_starts: Ids) -> Ids:
    """First token of every window, [B] -> [B]; num_starts: [D], the number of possible starts per domain.

    Each step has one random origin per domain; its windows follow at golden-ratio distances, which
    spreads them evenly: within a step they only overlap when they fill much of the text.
    """
    num_domains = num_starts.size
    origins = np.array([_stream(seed, 2, step, d) for d in range(num_domains)], dtype=np.uint64)
    with np.errstate(over="ignore"):
        rounds = (positions // num_domains).astype(np.uint64)
        points = origins[domain_ids] + rounds * np.uint64(GOLDEN)
    # Fraction of the circle -> start, in integers: exact, and the same on every machine.
    starts = ((points >> np.uint64(32)) * num_starts[domain_ids].astype(np.uint64)) >> np.uint64(32)
    return starts.astype(np.int64)


def spread_windows(num_tokens: int, length: int, most: int) -> Ids:
    """Starts of up to `most` windows that do not overlap, spread evenly over `num_tokens` tokens."""
    count = min(most, num_tokens // length)
    return (np.arange(count, dtype=np.int64) * num_tokens) // max(count, 1)


def check_lengths(domains: tuple[str, ...], sizes: Ids, sequence_length: int, split: str) -> None:
    """Reject a sequence length that does not fit even once into the text of a domain."""
    for name, size in zip(domains, sizes.tolist(), strict=True):
        if size < sequence_length + 1:
            raise CorpusError(
                f"training.sequence_length = {sequence_length}: needs {sequence_length + 1} tokens in a row,"
                f" but the {split} text of domain {name} has {size}; shorten the sequences."
            )
