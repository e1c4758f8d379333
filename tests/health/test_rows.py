"""What is read of a run: everything, or blocks of neighbouring steps of a very large one."""

from pathlib import Path

import numpy as np
import pytest
from unhealthy_runs import E, K, Router, T, record, write

from explorer.health import diagnose, read_folder, rows
from explorer.recording import RunFolder


def test_all_steps_of_a_run_that_is_not_large() -> None:
    assert rows.kept_steps(np.arange(1000), 16) is None


def test_blocks_of_a_large_run_hold_both_ends_and_neighbours() -> None:
    steps = np.arange(0, 200_000, 10)
    kept = rows.kept_steps(steps, 61 * 256)
    assert kept is not None
    assert len(kept) * 61 * 256 <= rows.MOST_VALUES
    assert (kept[0], kept[-1]) == (0, 199_990)
    gaps = np.diff(kept)
    assert (gaps == 10).sum() == len(kept) - len(kept) // rows.BLOCK
    assert gaps.max() > 10


def test_a_run_read_in_blocks_has_the_same_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, Router(steps=600, skew=0.9, update=None))
    whole = diagnose(read_folder(RunFolder(path)))
    monkeypatch.setattr(rows, "MOST_VALUES", 300 * 2 * E)
    sampled = read_folder(RunFolder(path))
    assert sampled.is_sampled
    assert sampled.layers[0].tokens.shape == (2 * rows.BLOCK, E)
    assert diagnose(sampled) == whole


def test_a_missing_bias_is_no_bias_and_one_that_is_not_finite_is_infinite(tmp_path: Path) -> None:
    counts = np.full((4, 1, E), K * T // E)
    biases = np.zeros((4, 1, E), dtype=np.float32)
    biases[2, 0, 1] = np.nan
    [layer] = read_folder(RunFolder(record(tmp_path, counts, biases))).layers
    assert np.isinf(layer.bias).sum() == 1
    assert not read_folder(RunFolder(record(tmp_path, counts, None, run_id="none"))).layers[0].has_bias


def test_layers_of_different_widths_and_numbers(tmp_path: Path) -> None:
    counts = np.full((30, 2, E), K * T // E)
    counts[:, 1, :4], counts[:, 1, 4:] = K * T // 4, 0
    path = record(tmp_path, counts, None, layers=(3, 9), experts_per_layer=(E, 4))
    run = read_folder(RunFolder(path))
    assert [(layer.layer, layer.width) for layer in run.layers] == [(3, E), (9, 4)]
    assert diagnose(run) == []
