"""`python -m explorer import`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from foreign_files import ROOT, random_counts, random_routes, write_lines
from route_samples import route_records

from explorer.cli import main
from explorer.importers import list_formats
from explorer.importers.options import COMMON

DOCS = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")


def test_json_is_one_object_per_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", random_counts())
    np.save(tmp_path / "b.npy", random_counts(1))
    runs = str(tmp_path / "runs")
    assert main(["import", str(tmp_path / "a.npy"), "--runs", runs, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert {"run_id", "path", "report"} <= set(one)
    assert (Path(one["path"]) / "run.json").exists()
    assert set(one["report"][0]) == {"kind", "severity", "sentence", "counts", "place"}
    assert main(["import", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--runs", runs, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({line["run_id"] for line in lines}) == 2
    assert main(["runs", "--runs", runs, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 3
    assert all(row["problem"] is None for row in listed)


def test_without_json_the_report_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", random_counts())
    assert main(["import", str(tmp_path / "a.npy"), "--runs", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert "MaxVio" in out
    assert "is read as [step, layer, expert]" in out


def test_a_question_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "moe_routes.jsonl", route_records(random_routes()))
    assert main(["import", str(path), "--runs", str(tmp_path / "runs"), "--json"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("explorer import: moe_routes.jsonl: does not say how many experts")
    assert "--option num_experts=" in streams.err
    assert streams.err.count("\n") == 1
    assert list((tmp_path / "runs").iterdir()) == []
    assert main(["import", str(path), "--runs", str(tmp_path / "runs"), "--option", "num_experts=8"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--option", "num_experts"], "must be key=value"),
        (["--option", "num_expert=8"], "is not an option of this format"),
        (["--option", "top_k=0"], "must be a whole number from 1"),
        (["--option", "top_k=2", "--option", "top_k=3"], "is given twice"),
        (["--option", "layers=3-1"], "must be"),
        (["--option", "num_experts=9"], "has 8 experts per layer"),
        (["--format", "csvv"], "is not a known format"),
        (["--format", "moe_routes"], "a.npy"),
    ],
)
def test_a_wrong_answer_is_refused(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", random_counts())
    assert main(["import", str(tmp_path / "a.npy"), "--runs", str(tmp_path / "runs"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_of_several_files_the_good_ones_are_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", random_counts())
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\x00")
    paths = [str(tmp_path / name) for name in ("b.npy", "a.npy")]
    assert main(["import", *paths, "--runs", str(tmp_path / "runs"), "--json"]) == 2
    streams = capsys.readouterr()
    assert len(streams.out.splitlines()) == 1
    assert "b.npy" in streams.err


def test_no_file_is_a_question_and_list_names_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import"]) == 2
    assert "give the files" in capsys.readouterr().err
    assert main(["import", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(form.name for form in list_formats())


def test_the_document_names_every_kind_and_option() -> None:
    code = "".join(path.read_text() for path in (ROOT / "explorer" / "importers").rglob("*.py"))
    kinds = set(re.findall(r'report\.(?:note|assumption|left_out|warning)\(\s*"(\w+)"', code))
    facts = set(re.findall(r'report\.note\(\s*"(\w+)"', code)) - {"bias_rate"}
    assert len(kinds) > 40
    assert [kind for kind in sorted(kinds - facts) if f"`{kind}`" not in DOCS] == []
    options = {*COMMON, *(name for form in list_formats() for name in form.options)}
    assert [name for name in sorted(options) if not re.search(rf"\b{name}\b", DOCS)] == []
