"""`python -m explorer diagnose`."""

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_files import import_one
from foreign_samples import SAMPLES
from sentences import sentence
from unhealthy_runs import E, K, Router, T, record, write

from explorer.cli import main
from explorer.recording import Recorder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """One run without balancing, one that is even."""
    write(tmp_path, Router(skew=0.9, update=None), run_id="uneven")
    record(tmp_path, np.full((40, 2, E), K * T // E), None, run_id="even")
    return tmp_path


def test_a_run_by_id_as_text(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "uneven", "--runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "uneven:"
    assert lines[1].startswith("  no_balancing: Nothing evens the loads out")
    assert lines[2].startswith("    try: ")


def test_a_healthy_run_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(runs / "even")]) == 0
    assert capsys.readouterr().out == "even: nothing found\n"


def test_a_snapshot_says_what_was_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, np.full((1, 2, E), K * T // E), None, run_id="snapshot")
    assert main(["diagnose", str(tmp_path / "snapshot")]) == 0
    assert capsys.readouterr().out == f"{sentence('cli.nothing_in_a_snapshot', run='snapshot')}\n"


def test_a_run_as_json_is_one_object(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(runs / "uneven"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["run_id"] == "uneven"
    [finding] = document["findings"]
    assert (finding["kind"], finding["layer"], finding["first_step"]) == ("no_balancing", None, 0)
    # A MaxVio of 1, and what chance adds to it.
    assert finding["counts"]["max_vio"] >= finding["threshold"] > 1
    assert {"sentence", "try_this", "measured"} <= finding.keys()


def test_a_folder_of_runs_gives_one_line_for_each(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(runs), "--json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["run_id"] for document in documents] == ["even", "uneven"]


def test_layers_of_one_kind_share_a_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = np.zeros((60, 3, E), dtype=np.int64)
    counts[:, :, :2] = T
    record(runs, counts, None, run_id="collapsed", balancer="aux_loss")
    assert main(["diagnose", "collapsed", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "  collapse (layers 0 to 2): Layer 0 has collapsed since step 0" in out


def test_an_unknown_run_is_one_sentence(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "nobody", "--runs", str(runs)]) == 2
    error = capsys.readouterr().err
    assert "is not a run folder" in error
    assert error.count("\n") == 1


def test_a_damaged_run_keeps_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in (runs / "uneven").glob("expert_loads*.parquet"):
        part.write_bytes(b"no parquet")
    assert main(["diagnose", str(runs)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "even: nothing found\n"
    assert captured.err.startswith("explorer diagnose: ")


def test_a_placement_is_not_called_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = SAMPLES["ascend_map"][1](tmp_path)
    run = import_one(sample.path, tmp_path, run_id="placed")
    assert main(["diagnose", str(run.path)]) == 0
    assert capsys.readouterr().out.strip() == f"placed: {sentence('cli.placement')}"


def test_a_finding_names_its_layer_as_the_model_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"model.layers.{n}.mlp.gate" for n in (3, 4)]
    with Recorder(
        tmp_path, num_layers=2, num_experts=E, top_k=K, run_id="dead", layer_numbers=[3, 4],
        layer_names=names, report_every_s=None,
    ) as rec:  # fmt: skip
        counts = np.full((2, E), K * T // E)
        counts[0] = [K * T // 2] * 2 + [0] * (E - 2)
        for step in range(300):
            rec.log(step, tokens_per_expert=counts)
    assert main(["diagnose", str(tmp_path / "dead"), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    named = {(one["layer"], one.get("layer_name")) for one in findings if one["layer"] is not None}
    assert named == {(3, names[0])}
    assert main(["diagnose", str(tmp_path / "dead")]) == 0
    assert f"[{names[0]}]" in capsys.readouterr().out
