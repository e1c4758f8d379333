"""Bias trajectories of a layer whose biases stop being finite for longer than a stored bin."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from store_runs import make_info, random_counts, record_steps

from explorer.queries import biases
from explorer.recording.run_writer import RunWriter
from explorer.store import Index, rollup

STEPS, EXPERTS = 640, 4


def test_stored_bins_without_a_finite_bias_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "ROLL_FROM", 0)
    monkeypatch.setattr(rollup, "ALIGN", 16)
    bias_SLE = np.full((STEPS, 1, EXPERTS), 0.25)
    bias_SLE[128:384, 0, 2] = np.nan
    recorder = RunWriter.create(tmp_path, make_info("run", 1, EXPERTS, num_steps=STEPS))
    record_steps(recorder, random_counts(STEPS, 1, EXPERTS), range(STEPS), bias_SLE)
    recorder.finish("finished")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            assert cur.execute("SELECT count(*) FROM load_bins").fetchone() != (0,), "the case that is tested"
            frame = biases.bias_trajectories(cur, "run", 0, 10)
    assert int(frame["bias_not_finite"].sum()) == 384 - 128
    lost = frame.filter(pl.col("bias_mean").is_null())
    assert lost.height >= 2
    assert lost["expert"].unique().to_list() == [2]
    assert lost["bias_last"].is_nan().all()
    assert frame.group_by("expert").len()["len"].n_unique() == 1, "every expert has every bin"
