"""Batch-aware selection against a slow reference with lists and fractions."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.routing import batch_selection as policies
from explorer.routing.batch_selection import LatencyModel, LynxKnobs


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Logits [N, B, E] in eighths, many of them equal, and K."""
    experts = draw(st.integers(2, 8))
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 4, 8])), experts)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-20, 20, shape) / 8, draw(st.integers(1, experts))


def preference(logits: list[float]) -> list[int]:
    return sorted(range(len(logits)), key=lambda e: (-logits[e], e))


def slow_best(batch: list[list[float]], allowed: set[int], top_k: int) -> list[set[int]]:
    return [set([e for e in preference(row) if e in allowed][:top_k]) for row in batch]


def slow_oea(batch: list[list[float]], top_k: int, k0: int) -> list[set[int]]:
    """Phase 1: every token keeps its k0 best. Phase 2: it fills up from the union of phase 1."""
    kept = [preference(row)[:k0] for row in batch]
    union = {e for row in kept for e in row}
    filled = []
    for row, own in zip(batch, kept, strict=True):
        further = [e for e in preference(row) if e in union and e not in own]
        filled.append({*own, *further[: top_k - len(own)]})
    return filled


def slow_lynx(batch: list[list[float]], top_k: int, knobs: LynxKnobs) -> list[set[int]]:
    experts, base = len(batch[0]), max(2, len(batch))
    score = [Fraction(0)] * experts
    sure = set()
    for row in batch:
        order = preference(row)
        bins = [max(-knobs.beta, min(0, math.floor(knobs.alpha * (z - row[order[0]])))) for z in row]
        for expert in range(experts):
            score[expert] += Fraction(base) ** bins[expert]
        if bins[order[1]] < 0:
            sure.add(order[0])
    full = {e for row in batch for e in preference(row)[:top_k]}
    number = max(top_k, math.ceil(Fraction(knobs.keep) * len(full)))
    rank_sum = [sum(preference(row).index(e) for row in batch) for e in range(experts)]
    highest = sorted(range(experts), key=lambda e: (-score[e], rank_sum[e], e))[:number]
    return slow_best(batch, {*highest, *sure}, top_k)


def sets_of(mask: np.ndarray) -> list[list[set[int]]]:
    return [[set(np.flatnonzero(row).tolist()) for row in batch] for batch in mask]


Slow = Callable[[list[list[float]]], list[set[int]]]


@given(
    case=batches(),
    k0=st.integers(1, 8),
    knobs=st.sampled_from([(1.0, 4, 0.5), (4.0, 2, 0.25), (0.5, 1, 1.0)]),
)
def test_every_policy_is_its_slow_reference(
    case: tuple[np.ndarray, int], k0: int, knobs: tuple[float, int, float]
) -> None:
    logits, top_k = case
    k0 = min(k0, top_k)
    settings = LynxKnobs(alpha=knobs[0], beta=knobs[1], keep=knobs[2])
    ranks = policies.preference_ranks(logits)
    pairs: list[tuple[np.ndarray, Slow]] = [
        (policies.static_top_k(ranks, k0), lambda batch: [set(preference(row)[:k0]) for row in batch]),
        (policies.oea(ranks, top_k, k0), lambda batch: slow_oea(batch, top_k, k0)),
        (policies.lynx(ranks, logits, top_k, settings), lambda batch: slow_lynx(batch, top_k, settings)),
    ]
    for mask, slow in pairs:
        assert sets_of(mask) == [slow(batch) for batch in logits.tolist()]


@given(case=batches())
def test_policies_that_keep_everything_are_full_routing(case: tuple[np.ndarray, int]) -> None:
    logits, top_k = case
    ranks = policies.preference_ranks(logits)
    full = policies.static_top_k(ranks, top_k)
    assert np.array_equal(policies.oea(ranks, top_k, top_k), full)


@given(case=batches(), alpha=st.sampled_from([0.01, 1.0, 50.0]), keep=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_token_alone_keeps_its_experts_under_lynx(
    case: tuple[np.ndarray, int], alpha: float, keep: float
) -> None:
    """However coarse the bins are: equal scores go to the expert that the token prefers."""
    logits, top_k = case[0][:, :1], case[1]
    ranks = policies.preference_ranks(logits)
    lynx_mask = policies.lynx(ranks, logits, top_k, LynxKnobs(alpha=alpha, keep=keep))
    assert np.array_equal(lynx_mask, policies.static_top_k(ranks, top_k))


def test_distinct_experts_latency_and_balance_by_hand() -> None:
    """Two tokens: experts 0 and 1, and experts 0 and 2."""
    mask = np.array([[[True, True, False, False], [True, False, True, False]]])
    assert policies.distinct_experts(mask).tolist() == [3]
    assert LatencyModel(per_assignment=0.1).of(mask).tolist() == [pytest.approx(3 + 0.1 * 4)]
    assert policies.kept_max_vio(mask).tolist() == [pytest.approx(2 / (4 / 3) - 1)]


def test_mixture_and_divergence_by_hand() -> None:
    scores = np.array([[[0.6, 0.2, 0.2], [0.0, 0.0, 0.0]]])
    full = policies.mixture(scores, np.array([[[True, True, False], [True, True, False]]]))
    assert full.tolist() == [[[pytest.approx(0.75), pytest.approx(0.25), 0.0], [0.5, 0.5, 0.0]]]
    fewer = policies.mixture(scores, np.array([[[True, False, False], [False, False, True]]]))
    slow = 0.5 * (0.75 * math.log(0.75 / 0.875) + 0.25 * math.log(2)) + 0.5 * math.log(1 / 0.875)
    assert policies.divergence(full, fewer)[0].tolist() == [pytest.approx(slow), pytest.approx(math.log(2))]
    assert policies.divergence(full, full).tolist() == [[0.0, 0.0]]


def test_uniform_routing_meets_the_formula_for_distinct_experts() -> None:
    """The published values of E = 64, K = 8: 26, 42 and 56 experts for 4, 8 and 16 tokens."""
    published = {4: 26, 8: 42, 16: 56}
    for batch, expected in published.items():
        assert round(policies.expected_distinct(64, 8, batch)) == expected
    rng = np.random.default_rng(0)
    ranks = policies.preference_ranks(rng.random((400, 8, 64)))
    counted = policies.distinct_experts(policies.static_top_k(ranks, 8)).mean()
    assert counted == pytest.approx(policies.expected_distinct(64, 8, 8), rel=0.01)
