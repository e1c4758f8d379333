"""Unit, scope and phase of loads: columns of the index, words in every legend, no pairs across them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from foreign_files import import_one, loads_of, random_counts
from foreign_samples import SAMPLES
from sentences import sentence

from explorer.charts import balance
from explorer.figures import final
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, run_from_row
from explorer.figures.balance import max_vio
from explorer.figures.confounders import confounders, routing_notes
from explorer.figures.layer_names import layer_name, names_note
from explorer.figures.loads import heatmap
from explorer.figures.panel import Panel, Question
from explorer.figures.settings import OneLayer, OverTime
from explorer.figures.store import OpenStore
from explorer.figures.views.replay import playable
from explorer.figures.views.serving_choices import usable_runs
from explorer.queries import comparison
from explorer.queries.runs import list_runs
from explorer.recording import Recorder, RunFolder
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


def test_a_placement_has_no_max_vio_and_no_view_of_loads(tmp_path: Path) -> None:
    sample = SAMPLES["ascend_map"][1](tmp_path)
    placed = import_one(sample.path, tmp_path, run_id="placed")
    np.save(tmp_path / "a.npy", random_counts())
    import_one(tmp_path / "a.npy", tmp_path, run_id="served")
    assert loads_of(placed).max() == 3
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            runs = {run.run_id: run for run in map(run_from_row, list_runs(cur).to_dicts())}
        arms = ArmSet.of([Arm(token=run.run_id, label=run.label, runs=(run,)) for run in runs.values()])
        store = OpenStore(index)
        table = {row["balancing"]: row for row in final.table(store, arms)}
        curve = max_vio(store, arms, OverTime()).table
    cells = table[runs["placed"].label]
    assert {cells[name] for name in final.COLUMNS} == {final.UNKNOWN}
    assert table[runs["served"].label]["MaxVio last steps"] != final.UNKNOWN
    assert curve is not None
    assert set(curve["run_id"].unique()) == {"served"}
    (note,) = routing_notes(arms)
    assert sentence("compare.placement") in note
    assert [run.run_id for run in usable_runs(list(runs.values()))] == ["served"]
    assert [run.run_id for run in playable(list(runs.values()), [])] == ["served"]


def test_shares_of_tokens_and_of_gate_weight_are_different_kinds(tmp_path: Path) -> None:
    sample = SAMPLES["esft_summary"][1](tmp_path)
    shares = [
        RunFolder(import_one(sample.path, tmp_path, **sample.options, scores=scores).path).info.unit
        for scores in ("token_scores", "gate_scores")
    ]
    assert shares == ["shares × 10,000", "shares of gate weight × 10,000"]


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
        loads = Question(
            key="loads", build=heatmap, arms=ArmSet.of_runs([run]), settings=OneLayer(layer=3)
        ).answer(OpenStore(index))
    assert isinstance(loads, Panel)
    assert loads.subject == f"Expert load of {run.label}, layer 3 ({names[0]})"
    assert names_note([run], 5) == f"Layer 5 is {names[1]}."
    other = replace(run, run_id="other", config=json.dumps({"layer_names": ["a", "b"]}))
    assert names_note([run, other], 5) == f"Layer 5 is {names[1]} in named; b in other."
    assert names_note([replace(run, config="{}")], 5) == ""
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
