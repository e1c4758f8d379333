"""Agreement of two routings against loops; shifted layers are found; bfloat16 against exact fractions."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import agreement as slow

from explorer.metrics import churn
from explorer.routing import agreement as module
from explorer.routing.agreement import agreement, layer_shift
from explorer.routing.precision import rounded


@st.composite
def two_routings(draw):
    """Two routings of the same tokens [T, K] and [T, K'], some slots empty (id E), and E."""
    experts, tokens = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    both = []
    for _ in range(2):
        top_k = draw(st.integers(1, experts))
        ids = np.argsort(rng.random((tokens, experts)), axis=1)[:, :top_k].astype(np.int64)
        both.append(np.where(rng.random(ids.shape) < draw(st.sampled_from([0.0, 0.3])), experts, ids))
    return both[0], both[1], experts


def both_lists(case) -> tuple[list[list[int]], list[list[int]]]:
    first, second, experts = case
    return lists(first, experts), lists(second, experts)


def lists(ids: np.ndarray, experts: int) -> list[list[int]]:
    return [[e for e in row if e < experts] for row in ids.tolist()]


@pytest.mark.parametrize("few_slots", [0, 24])  # one array over experts, or slot against slot
@given(case=two_routings())
def test_counts_equal_the_loops(few_slots: int, case) -> None:
    first, second, experts = case
    with mock.patch.object(module, "FEW_SLOTS", few_slots):
        fast = agreement(first, second, experts)
        assert fast.joint_EE.tolist() == slow.counts(*both_lists(case), experts)["joint"]
        assert fast.swaps_EE.tolist() == slow.counts(*both_lists(case), experts)["swaps"]
    want = slow.counts(*both_lists(case), experts)
    assert (fast.differing, fast.shared, fast.slots) == (want["differing"], want["shared"], want["slots"])
    assert fast.differing_share == want["differing"] / len(first)
    assert fast.overlap == (want["shared"] / want["slots"] if want["slots"] else 1.0)
    if want["slots"]:
        assert fast.matched_overlap == slow.best_matching(want["joint"]) / want["slots"]
        assert fast.overlap == pytest.approx(1 - churn(first, second, experts))


@given(case=two_routings())
def test_exchanging_the_two_turns_the_matrices_and_keeps_the_shares(case) -> None:
    first, second, experts = case
    one, other = agreement(first, second, experts), agreement(second, first, experts)
    assert np.array_equal(one.swaps_EE, other.swaps_EE.T)
    assert (one.overlap, one.differing) == (other.overlap, other.differing)
    assert one.overlap_by_loads == pytest.approx(other.overlap_by_loads)


def test_hand_case() -> None:
    # Three tokens, two experts each of four: the first keeps both, the second swaps 1 for 2, the third both.
    first = np.array([[0, 1], [0, 1], [0, 1]])
    second = np.array([[1, 0], [0, 2], [2, 3]])
    comparison = agreement(first, second, 4)
    assert (comparison.shared, comparison.differing) == (3, 2)
    assert comparison.overlap == 0.5
    assert comparison.swaps_EE.tolist() == [[0, 0, 1, 1], [0, 0, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert comparison.loads_E.tolist() == [3, 3, 0, 0]
    assert comparison.other_loads_E.tolist() == [2, 1, 2, 1]
    # Independent draws with these loads share (3·2 + 3·1) / 3 = 3 assignments.
    assert comparison.overlap_by_loads == 0.5


def test_a_permutation_of_the_experts_is_found() -> None:
    rng = np.random.default_rng(0)
    first = np.argsort(rng.random((500, 6)), axis=1)[:, :2]
    order = rng.permutation(6)
    comparison = agreement(first, order[first], 6)
    assert comparison.matched_overlap == 1.0
    assert comparison.relabelling.tolist() == order.tolist()
    assert comparison.overlap < 1.0


def routes(layers: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.argsort(rng.random((200, 8)), axis=1)[:, :2] for _ in range(layers)]


@pytest.mark.parametrize("shift", [-2, 1, 3])
def test_shifted_layers_are_found(shift: int) -> None:
    trace = routes(12)
    first = {i: trace[3 + i] for i in range(6)}
    second = {i + 10: trace[3 + i - shift] for i in range(6)}
    best = layer_shift(first, second, 8)
    assert best is not None
    assert (best.shift, best.overlap) == (shift, 1.0)
    assert best.unshifted < 0.5


def test_aligned_layers_and_unrelated_layers_report_no_shift() -> None:
    one, other = dict(enumerate(routes(5))), dict(enumerate(routes(5, seed=1)))
    assert layer_shift(one, one, 8) is None
    assert layer_shift(one, other, 8) is None


def test_different_numbers_of_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 tokens"):
        agreement(np.zeros((3, 1), np.int64), np.zeros((2, 1), np.int64), 2)


@given(
    st.lists(
        st.floats(-(2.0**127), 2.0**127, width=32).filter(lambda v: v == 0 or abs(v) > 1e-30), min_size=1
    )
)
def test_bfloat16_equals_exact_rounding_and_torch(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float32)
    fast = rounded(numbers, "bfloat16")
    assert fast.tolist() == torch.tensor(numbers).bfloat16().float().tolist()
    small = np.abs(numbers) < 1e38
    assert fast[small].tolist() == [slow.bfloat16(float(v)) for v in numbers[small]]


def test_other_types() -> None:
    numbers = np.array([0.1, np.nan, np.inf, -0.3], dtype=np.float32)
    assert np.array_equal(rounded(numbers, "float32"), numbers, equal_nan=True)
    assert rounded(numbers, "float16")[0] == np.float32(np.float16(0.1))
    assert np.array_equal(rounded(numbers, "bfloat16")[1:3], numbers[1:3], equal_nan=True)
    with pytest.raises(ValueError, match="bfloat16"):
        rounded(numbers, "fp8")
