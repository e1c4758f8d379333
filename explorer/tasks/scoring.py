"""Log-probabilities of given tokens: how well a model predicts text that it did not write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from explorer.tasks.trained import TrainedModel, padded

BATCH = 16
"""Sequences per forward pass."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Token ids of which those from `first` on are scored; what is before them is context."""

    ids: Sequence[int]
    first: int = 1


@dataclass(frozen=True, kw_only=True)
class Score:
    """Sums over the scored tokens of one passage."""

    nats: float
    """-Σ ln p of each token after the tokens before it."""
    tokens: int
    correct: int
    """Tokens that are the most probable one."""

    @classmethod
    def total(cls, scores: Sequence["Score"]) -> "Score":
        return cls(
            nats=sum(score.nats for score in scores),
            tokens=sum(score.tokens for score in scores),
            correct=sum(score.correct for score in scores),
        )


def score(trained: TrainedModel, passages: Sequence[Passage]) -> list[Score]:
    """Each passage's score, in order.

    A passage longer than the context is scored in windows that overlap by half: every token is scored
    once, with at least half the context before it wherever the passage has that much.
    """
    windows = [
        (index, *window) for index, one in enumerate(passages) for window in _windows(one, trained.length)
    ]
    nats = np.zeros(len(passages))
    tokens, correct = (np.zeros(len(passages), dtype=np.int64) for _ in range(2))
    # Long ones together, so that little is padding.
    windows.sort(key=lambda window: len(window[1]), reverse=True)
    for start in range(0, len(windows), BATCH):
        part = windows[start : start + BATCH]
        for (index, _, first), (each, hits) in zip(part, _score_batch(trained, part), strict=True):
            nats[index] += each[first - 1 :].sum()
            correct[index] += int(hits[first - 1 :].sum())
            tokens[index] += len(each) - (first - 1)
    return [
        Score(nats=float(a), tokens=int(b), correct=int(c))
        for a, b, c in zip(nats, tokens, correct, strict=True)
    ]


def _windows(passage: Passage, length: int) -> Iterator[tuple[Sequence[int], int]]:
    """(tokens, place of the first scored one), each at most one longer than the context."""
    first, end = max(1, passage.first), len(passage.ids)
    while first < end:
        # A window of length + 1 tokens predicts `length` of them. Half of it is context; more, near the end.
        begin = max(0, min(first - max(1, length // 2), end - (length + 1)))
        stop = min(end, begin + length + 1)
        yield passage.ids[begin:stop], first - begin
        first = stop


def _score_batch(
    trained: TrainedModel, part: Sequence[tuple[int, Sequence[int], int]]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """(nats, is the most probable) of every token of each window but its first."""
    tokens = padded([ids for _, ids, _ in part]).to(trained.device)
    with torch.no_grad():
        logits = trained.forward(tokens[:, :-1]).logits_BSV.float()
        targets = tokens[:, 1:]
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        hits = logits.argmax(-1) == targets
    rows = zip(nats.double().cpu().numpy(), hits.cpu().numpy(), part, strict=True)
    for each, hit, (_, ids, _) in rows:
        yield each[: len(ids) - 1], hit[: len(ids) - 1]
