"""One selection in two forms: the simulator's mask against the Microscope's list, ties included."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.model import gates
from explorer.routing import routing_math, selection
from explorer.routing.balancing import biased_scores
from explorer.routing.spec import RouteSpec

FORMS = ["additive", "multiplicative"]


@st.composite
def tied_scores(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Scores [T, E] of which many are equal, and K."""
    experts = draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(0, draw(st.integers(1, 6)), (draw(st.integers(1, 20)), experts))
    return scores.astype(np.float32) / 8, draw(st.integers(1, experts))


@given(case=tied_scores())
def test_the_mask_holds_the_experts_of_the_list(case: tuple[np.ndarray, int]) -> None:
    scores, top_k = case
    mask = selection.choose(scores, top_k)
    ids = routing_math.choose(scores, scores, RouteSpec(top_k=top_k))
    assert np.array_equal(mask, routing_math.members(ids, scores.shape[1]))
    assert selection.column_counts(mask).tolist() == np.bincount(ids.ravel(), minlength=len(mask[0])).tolist()


@given(case=tied_scores(), bias_form=st.sampled_from(FORMS), seed=st.integers(0, 1000))
def test_biased_scores_are_the_same_in_a_kept_array(
    case: tuple[np.ndarray, int], bias_form: str, seed: int
) -> None:
    scores, out = case[0], np.empty_like(case[0])
    bias = np.random.default_rng(seed).standard_normal(scores.shape[1]).astype(np.float32)
    assert biased_scores(scores, bias, bias_form, out) is out
    assert np.array_equal(out, biased_scores(scores, bias, bias_form))
    both = biased_scores(torch.from_numpy(scores), torch.from_numpy(bias), bias_form)
    assert np.array_equal(out, both.numpy())


@given(divide_by=st.sampled_from(["chosen", "all", "nothing"]), low=st.floats(-200, -80))
def test_gates_of_scores_that_underflow_are_the_models(divide_by: str, low: float) -> None:
    """float32 sigmoids below about -104 are exactly 0, and 0/0 would be no number."""
    logits = np.float32([[low, low - 1, low - 2], [low, 0.0, 1.0]])
    ids = np.array([[0, 1, 3], [2, 3, 3]])  # E in an empty slot
    spec = RouteSpec(top_k=2, divide_by=divide_by)
    x = torch.from_numpy(logits)
    theirs = gates.weigh(x, gates.scores(x, spec.score_func), torch.from_numpy(ids), spec)
    mine = routing_math.gates(logits, ids, spec)
    assert np.isfinite(mine).all()
    np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-4, atol=1e-7)


def test_equal_scores_go_to_the_lower_index_and_never_to_more_than_k() -> None:
    scores = np.array([[1, 1, 1, 1], [0, 2, 2, 2], [3, 1, 3, 3], [1, 2, 3, 4]], dtype=np.float32)
    assert selection.choose(scores, 2).tolist() == [
        [True, True, False, False],
        [False, True, True, False],
        [True, False, True, False],
        [False, False, True, True],
    ]


@pytest.mark.parametrize("rows", [0, 1, 239, 240, 241, 1000])
def test_columns_are_counted_whatever_their_number(rows: int) -> None:
    mask = np.random.default_rng(0).random((rows, 5)) < 0.9
    assert selection.column_counts(mask).tolist() == mask.sum(0).tolist()


def test_all_rows_chosen_do_not_overflow_the_byte_sums() -> None:
    assert selection.column_counts(np.ones((5000, 3), dtype=np.bool_)).tolist() == [5000] * 3
