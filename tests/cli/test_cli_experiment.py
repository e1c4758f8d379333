"""`experiment`: what it prints, and one sentence for wrong input."""

import json
from pathlib import Path

import pytest
from evidence_rows import rows_of

from explorer.cli import main
from explorer.evidence import results
from explorer.evidence.registry import CLAIMS, EXPERIMENTS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No rows but those of the test."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr("explorer.cli.experiment.FOLDER", tmp_path)
    return tmp_path


def test_list_has_every_experiment_with_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "list", "--preset", "standard"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in EXPERIMENTS)
    assert printed.count("to make") == len(EXPERIMENTS)


def test_a_dry_run_prints_the_budget_and_nothing_else(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert main(["experiment", "run", "loss-free", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("loss-free, quick: 120 runs to make, 0 there")
    assert list(folder.iterdir()) == []


def test_report_as_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    rows = rows_of("normalisation", range(8), lambda arm, seed: {"mean_score": 0.5, "max_vio_global": 1.0})
    for row in rows.values():
        results.append_row(folder / results.FILE, row)
    assert main(["experiment", "report", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in report] == [claim.id for claim in CLAIMS]
    for entry in report:
        assert isinstance(entry["seeds"], int)
        assert (entry["effect"] is None) == (entry["interval"] is None)
    assert {entry["id"]: entry["seeds"] for entry in report}["X5"] == 8


def test_report_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "report"]) == 0
    printed = capsys.readouterr().out
    assert f"{len(CLAIMS)} claims: 0 supported, 0 contradicted" in printed
    assert "A4   not testable here" in printed


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["run", "nothing"], "experiment = 'nothing': is not a known name"),
        (["run", "loss-free", "--preset", "huge"], "--preset = 'huge': is not a known name"),
        (["run", "loss-free", "--seeds", "0"], "--seeds = 0: must be at least 1"),
        (["run", "loss-free", "--seeds", "2000"], "is used for tuning"),
        (["run", "loss-free", "--launcher", "cloud"], "--launcher = 'cloud': is not a known name"),
        (["run", "loss-free", "--results", "rows.csv"], "is not a Parquet file"),
        (["run", "loss-free", "--jobs", "0"], "--jobs"),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = [] if "--launcher" in arguments else ["--launcher", "print"]
    assert main(["experiment", *arguments, *launch]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
