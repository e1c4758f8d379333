"""Runs of somebody's own loop under the names that they gave, wherever runs are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from app_pages import Opener

from explorer.cli import main
from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord

NAMES = {"exp-0417": "baseline, *lr* 3e-4", "exp-0418": "twice the batch"}
LABEL = "loss-free u=0.001"


def record(folder: Path, names: dict[str, str]) -> Path:
    """Runs that state a name and a label, and nothing else."""
    for run_id, name in names.items():
        info = RunInfo(
            run_id=run_id, name=name, num_moe_layers=1, num_experts=4, top_k=1, tokens_per_step=64,
            num_steps=8, balancer_label=LABEL,
        )  # fmt: skip
        with RunWriter.create(folder, info) as recorder:
            for step in range(8):
                recorder.record(StepRecord(step=step, tokens_seen=(step + 1) * 64, lm_loss=3.0))
                recorder.record(LoadRecord(step=step, tokens_LE=np.array([[16, 16, 16, 16]])))
                recorder.step_done(step)
    return folder


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("outside"), NAMES)


def test_the_overview_tells_two_runs_of_one_label_apart_by_their_names(
    open_app: Opener, outside: Path
) -> None:
    app = open_app(outside, runs=list(NAMES))
    table = app.dataframe[0].value
    assert sorted(table["name"]) == sorted(NAMES.values())
    assert set(table["balancing"]) == {LABEL}
    cards = [card.label.replace("\\", "") for card in app.metric]
    assert sorted(cards) == sorted(f"{LABEL}, {name}" for name in NAMES.values())
    assert "none" not in cards
    app = open_app(outside, "compare", runs=list(NAMES))
    legend = next(block.value for block in app.get("html") if "<li" in block.value)
    lines = legend.split("<li")[1:]
    assert len(set(lines)) == 2
    for name in NAMES.values():
        assert sum(name in line for line in lines) == 1


def test_runs_without_names_have_no_empty_column(open_app: Opener, tmp_path: Path) -> None:
    table = open_app(record(tmp_path / "runs", {"exp-0417": "", "exp-0418": "exp-0418"})).dataframe[0].value
    assert len(table) == 2
    assert "name" not in table


def test_the_command_line_lists_the_names(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--runs", str(outside)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for run_id, name in NAMES.items():
        (line,) = (line for line in lines if line.startswith(run_id))
        assert line.endswith(name)
        assert LABEL in line
    main(["runs", "--runs", str(outside), "--json"])
    rows = {row["run_id"]: row for row in json.loads(capsys.readouterr().out)}
    assert {run_id: row["name"] for run_id, row in rows.items()} == NAMES
    assert {row["label"] for row in rows.values()} == {LABEL}


def test_the_picker_shows_names_and_the_address_keeps_ids(open_app: Opener, outside: Path) -> None:
    app = open_app(outside, "compare", runs=list(NAMES))
    picker = app.multiselect(key="runs")
    assert picker.value == list(NAMES)
    assert sorted(picker.options) == sorted(f"{LABEL}, {name} · {run_id}" for run_id, name in NAMES.items())
    assert app.query_params["runs"] == list(NAMES)
    app.multiselect(key="runs").set_value(["exp-0418"]).run()
    assert app.query_params["runs"] in ("exp-0418", ["exp-0418"])


def test_two_runs_of_one_name_stay_apart_in_the_picker(open_app: Opener, tmp_path: Path) -> None:
    twins = {"exp-0417": "baseline", "exp-0418": "baseline"}
    app = open_app(record(tmp_path / "runs", twins), "compare")
    options = app.multiselect(key="runs").options
    assert len(set(options)) == 2
    assert all(run_id in option for run_id, option in zip(sorted(twins), sorted(options), strict=True))
