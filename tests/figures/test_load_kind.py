"""Unit, scope and phase of loads: columns of the index, words in every legend, no pairs across them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from foreign_files import import_one, random_counts

from explorer.charts import balance
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, run_from_row
from explorer.figures.confounders import confounders
from explorer.figures.layer_names import layer_name
from explorer.queries import comparison
from explorer.queries.runs import list_runs
from explorer.recording import Recorder
from explorer.store import Index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recorded run, one of prefill, and shares of decode."""
    with Recorder(
        tmp_path / "runs", num_layers=3, num_experts=8, top_k=2, run_id="own", report_every_s=None
    ) as rec:
        rec.log(0, tokens_per_expert=random_counts()[0])
    np.save(tmp_path / "a.npy", random_counts())
    np.save(tmp_path / "b.npy", random_counts() / 1024)
    import_one(tmp_path / "a.npy", tmp_path, run_id="prefill", phase="prefill", scope="rank", name="R1")
    import_one(tmp_path / "b.npy", tmp_path, run_id="decode", phase="decode")
    return tmp_path


def test_they_are_columns_and_words_behind_the_name(folder: Path) -> None:
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder / "runs"])
        with index.cursor() as cur:
            rows = {row["run_id"]: row for row in list_runs(cur).to_dicts()}
    kinds = {run_id: tuple(row[name] for name in ("unit", "scope", "phase")) for run_id, row in rows.items()}
    assert kinds == {
        "own": ("assignments", "global", "training"),
        "prefill": ("assignments", "rank", "prefill"),
        "decode": ("shares × 1,000,000", "global", "decode"),
    }
    assert rows["prefill"]["name"] == "R1"
    runs = {run_id: run_from_row(row) for run_id, row in rows.items()}
    assert {run_id: run.label for run_id, run in runs.items()} == {
        "own": "rule not stated",
        "prefill": "R1 (prefill, rank)",
        "decode": "b (decode, shares × 1,000,000)",
    }
    arms = ArmSet.of([Arm(token=run.run_id, label=run.label, runs=(run,)) for run in runs.values()])
    (message,) = [text for text in confounders(arms) if "unit, scope or phase" in text]
    assert "“R1 (prefill, rank)”: assignments, rank, prefill" in message
    same = arms.only(arms.arms[:1] * 2)
    assert not [text for text in confounders(same) if "unit, scope or phase" in text]


def test_runs_of_different_kinds_are_never_a_pair(folder: Path) -> None:
    """Even if their folders claim the same experiment."""
    for run_id, seed in (("prefill", 0), ("decode", 0), ("own", 0)):
        path = folder / "runs" / run_id / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pair_key": "same", "seed": seed}))
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder / "runs"])
        with index.cursor() as cur:
            keys = comparison.summary(cur)["pair_key"].to_list()
            assert len(set(keys)) == 3
            assert "same" in keys
            assert comparison.paired(cur, ["prefill"], ["decode"], "max_vio_batch").n == 0
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
    assert len({run.experiment for run in runs}) == 3


def test_the_model_may_name_its_layers(tmp_path: Path) -> None:
    names = ["model.layers.3.mlp.gate", "model.layers.5.mlp.gate"]
    with Recorder(
        tmp_path / "runs", num_layers=2, num_experts=4, top_k=1, run_id="named", layer_numbers=[3, 5],
        layer_names=names, report_every_s=None,
    ) as rec:  # fmt: skip
        rec.log(0, tokens_per_expert=np.ones((2, 4), dtype=int))
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            run = run_from_row(list_runs(cur).to_dicts()[0])
    assert [layer_name(run, layer) for layer in (3, 5, 4)] == [*names, ""]
    assert layer_name(replace(run, config='{"layer_names": 3}'), 3) == ""


def test_a_run_of_one_step_is_a_point() -> None:
    frame = pl.DataFrame(
        {
            "run_id": ["a", "b", "b"],
            "x": [0.0, 0.0, 1.0],
            "first_step": [0, 0, 1],
            "last_step": [0, 0, 1],
            "max_vio": [1.0, 2.0, 3.0],
            "max_vio_min": [1.0, 2.0, 3.0],
            "max_vio_max": [1.0, 2.0, 3.0],
        }
    )
    drawn = balance.max_vio_curves(frame).to_dict()
    kinds = [layer["mark"]["type"] for layer in drawn["layer"] if isinstance(layer.get("mark"), dict)]
    without = balance.max_vio_curves(frame.filter(pl.col("run_id") == "b")).to_dict()
    others = [layer["mark"]["type"] for layer in without["layer"] if isinstance(layer.get("mark"), dict)]
    assert kinds.count("point") == others.count("point") + 1
