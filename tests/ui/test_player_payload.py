"""What the player is sent: exact, small, and the same for the same matrix."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from chart_frames import load_matrix
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explorer.records.matrix import LoadMatrix
from explorer.ui.components.player import component
from explorer.ui.components.player.payload import NO_BIAS, matrix_payload


def unpack(packed: dict[str, str]) -> np.ndarray:
    """As the browser reads it: little-endian, whatever this machine is."""
    return np.frombuffer(base64.b64decode(packed["base64"]), dtype=np.dtype("<" + packed["kind"]))


def matrix(tokens: Any, bias: Any = None, first: int = 0, each: int = 1) -> LoadMatrix:
    return load_matrix(np.asarray(tokens, dtype=np.int64), bias, first=first, each=each)


@given(arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.integers(0, 2**32 - 1)))
def test_counts_arrive_exactly(tokens: np.ndarray) -> None:
    payload = matrix_payload(matrix(tokens))
    assert payload["experts"] == tokens.shape[1]
    assert unpack(payload["counts"]).reshape(tokens.shape).tolist() == tokens.tolist()
    assert (
        unpack(payload["first_step"]).tolist()
        == unpack(payload["last_step"]).tolist()
        == list(range(len(tokens)))
    )


@pytest.mark.parametrize(("top", "kind"), [(255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4")])
def test_counts_take_no_more_bytes_than_they_need(top: int, kind: str) -> None:
    assert matrix_payload(matrix([[0, top]]))["counts"]["kind"] == kind


def test_impossible_counts_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="a cell holds 4294967296 tokens"):
        matrix_payload(matrix([[2**32]]))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 60))
def test_a_matrix_too_large_is_summed_without_losing_a_token(steps: int, experts: int, most: int) -> None:
    tokens = np.arange(steps * experts).reshape(steps, experts)
    payload = matrix_payload(matrix(tokens, first=100), max_cells=most)
    counts = unpack(payload["counts"]).reshape(-1, experts)
    assert len(counts) == 1 or counts.size <= most
    assert counts.sum(0).tolist() == tokens.sum(0).tolist()
    first, last = unpack(payload["first_step"]), unpack(payload["last_step"])
    assert (first[0], last[-1]) == (100, 99 + steps)
    assert (first[1:] == last[:-1] + 1).all()


def test_columns_that_are_already_sums_keep_their_last_step() -> None:
    payload = matrix_payload(matrix(np.ones((2, 3)), each=5))
    assert unpack(payload["first_step"]).tolist() == [0, 5]
    assert unpack(payload["last_step"]).tolist() == [4, 9]


def test_biases_keep_four_digits_and_gaps() -> None:
    bias = np.array([[0.5, -1.25], [np.nan, 0.0003]], dtype=np.float32)
    payload = matrix_payload(matrix([[1, 2], [3, 4]], bias))
    stored = unpack(payload["bias"])
    assert stored[2] == NO_BIAS
    assert stored[[0, 1, 3]] * payload["bias_unit"] == pytest.approx([0.5, -1.25, 0.0003], abs=1e-4)
    assert matrix_payload(matrix([[1, 2]]))["bias"] is None


def test_no_steps_is_no_error() -> None:
    payload = matrix_payload(matrix(np.zeros((0, 4), dtype=np.int64)))
    assert unpack(payload["counts"]).size == 0
    assert matrix_payload(matrix(np.zeros((0, 0), dtype=np.int64)))["experts"] == 0


def test_the_version_follows_the_content() -> None:
    first = matrix_payload(matrix([[1, 2]]))["version"]
    assert matrix_payload(matrix([[1, 2]]))["version"] == first
    assert matrix_payload(matrix([[1, 3]]))["version"] != first
    assert matrix_payload(matrix([[1, 2]], first=1))["version"] != first


def test_a_large_matrix_stays_below_two_megabytes() -> None:
    tokens = np.full((6_000, 64), 60_000, dtype=np.int64)
    bias = np.ones((6_000, 64), dtype=np.float32)
    assert len(json.dumps(matrix_payload(matrix(tokens, bias)))) < 2_300_000


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"moved": {"step": 3, "expert": 1}}, component.PlayerEvent(step=3, expert=1)),
        ({"moved": {"step": 3, "expert": 1, "time": 9}}, component.PlayerEvent(step=3, expert=1, time=9)),
        ({"moved": {"step": 3, "expert": 1, "time": "9"}}, component.PlayerEvent(step=3, expert=1)),
        ({"moved": {"step": 3, "expert": None}}, component.PlayerEvent(step=3, expert=None)),
        ({"moved": {"step": 3, "expert": "1"}}, component.PlayerEvent(step=3, expert=None)),
        ({"moved": {"step": "3"}}, None),
        ({"moved": {"step": True}}, None),
        ({"moved": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_the_browser_reports_is_checked(value: Any, wanted: component.PlayerEvent | None) -> None:
    assert component._event(value) == wanted


def test_the_height_follows_the_number_of_experts() -> None:
    heights = [component.height_of(n) for n in (1, 8, 16, 64, 256)]
    assert heights == sorted(heights)
    assert heights[-1] <= 500
