"""Counts taken from chosen experts: padding is no token, whichever side it stands on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.recording import Recorder, RunFolder

L, E, K, B, S = 2, 5, 2, 3, 6
MASKS = {
    "left padding": [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]],
    "right padding": [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]],
    "packed sequences": [[1, 1, 2, 2, 3, 0], [1, 2, 2, 2, 2, 2], [1, 1, 1, 2, 0, 0]],
    "none": None,
}
"""Packed sequences are numbered from 1 within a row; what is left of the row is padding."""


def chosen_experts() -> np.ndarray:
    """[L, B, S, K] different experts of each token."""
    return np.random.default_rng(0).random((L, B, S, E)).argsort(-1)[..., :K]


def by_hand(expert_ids: np.ndarray, mask: Any) -> list[int]:
    counts = np.zeros((L, E), dtype=int)
    for layer, row, place, slot in np.ndindex(expert_ids.shape):
        if mask is None or mask[row][place]:
            counts[layer, expert_ids[layer, row, place, slot]] += 1
    return counts.reshape(-1).tolist()


def recorded(path: Path) -> list[int]:
    return RunFolder(path / "run").read("expert_loads").sort("layer", "expert")["tokens"].to_list()


def record(path: Path, expert_ids: Any, mask: Any) -> None:
    with Recorder(path, num_layers=L, num_experts=E, top_k=K, run_id="run", report_every_s=None) as rec:
        rec.log(0, selected_experts=expert_ids, mask=mask)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_padding_is_left_out(tmp_path: Path, kind: str, library: str) -> None:
    expert_ids, mask = chosen_experts(), MASKS[kind]
    given: Any = list(expert_ids)
    if library == "torch":
        torch = pytest.importorskip("torch")
        given = [torch.from_numpy(ids).reshape(B * S, K) for ids in expert_ids]
    record(tmp_path, given, mask if library == "numpy" or mask is None else torch.tensor(mask))
    assert recorded(tmp_path) == by_hand(expert_ids, mask)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_negative_id_is_an_empty_slot(tmp_path: Path, library: str) -> None:
    expert_ids = chosen_experts()
    expert_ids[0, 0, 0] = -1
    mask = np.ones((B, S), dtype=int)
    expected = by_hand(chosen_experts(), mask)
    for expert in chosen_experts()[0, 0, 0]:
        expected[expert] -= 1
    given = pytest.importorskip("torch").from_numpy(expert_ids) if library == "torch" else expert_ids
    record(tmp_path, given, None)
    assert recorded(tmp_path) == expected
