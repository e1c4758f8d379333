"""The leak of expert choice against expert choice run again for every changed token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import expert_leak as slow

from explorer.routing.expert_leak import expert_choice_leak


@given(
    seed=st.integers(0, 10_000),
    chunk=st.sampled_from([3, 4, 8, 16, 24]),
    top_k=st.integers(1, 4),
    ties=st.booleans(),
)
@settings(max_examples=40)
def test_counts_equal_the_loops(seed: int, chunk: int, top_k: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((24, 4)) + rng.standard_normal(4)
    scores = np.round(scores) if ties else scores
    fast = expert_choice_leak(scores, top_k, chunk=chunk, sequence_tokens=8)
    want = slow.leak(scores.tolist(), top_k, chunk, 8)
    assert (fast.trials, fast.earlier_trials, fast.other_trials, fast.earlier_tokens) == want


def test_hand_case() -> None:
    # One sequence of four tokens, two experts, K = 1: each takes two. Expert 0 takes tokens 0 and 1. Token 3
    # becomes token 1's equal and loses the tie; token 2 becomes token 0 and pushes out token 1, which is
    # earlier.
    scores = np.array([[0.9, 0.1], [0.5, 0.2], [0.4, 0.8], [0.3, 0.7]])
    leak = expert_choice_leak(scores, 1, chunk=4, sequence_tokens=4)
    assert (leak.trials, leak.earlier_trials, leak.other_trials) == (4, 2, 0)
    assert slow.leak(scores.tolist(), 1, 4, 4) == (4, 2, 0, leak.earlier_tokens)


@pytest.mark.parametrize("chunk", [8, 16])
def test_chunks_within_a_sequence_reach_no_other_sequence(chunk: int) -> None:
    scores = np.random.default_rng(0).standard_normal((64, 8))
    assert expert_choice_leak(scores, 2, chunk=chunk, sequence_tokens=16).other_trials == 0
    assert expert_choice_leak(scores, 2, chunk=64, sequence_tokens=16).other_trials > 0
