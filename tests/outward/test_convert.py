"""Loads of a run in the formats of other systems: what `convert` writes, `import` reads back."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from foreign_files import import_one, loads_of, random_counts

from explorer.cli import main
from explorer.importers import detect_format
from explorer.outward import FORMATS
from explorer.recording import Recorder, RunFolder
from explorer.routing.placement import plan

LAYERS = [2, 3, 5]
ENDINGS = {"csv": "csv", "parquet": "parquet", "eplb": "npy", "vllm-eplb": "jsonl"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """4 steps × 3 layers × 8 experts with biases; the model's own layers are 2, 3, 5."""
    counts = random_counts()
    folder = tmp_path / "own"
    with Recorder(
        folder, num_layers=3, num_experts=8, top_k=2, run_id="a", layer_numbers=LAYERS, report_every_s=None
    ) as rec:
        for step, tokens_LE in enumerate(counts):
            rec.log(step * 10, tokens_per_expert=tokens_LE, expert_bias=tokens_LE / 1024, lm_loss=1.0)
    return folder / "a"


def converted(run: Path, to: str, folder: Path, *words: str) -> Path:
    out = folder / f"out-{to}.{ENDINGS.get(to, 'json')}"
    assert main(["convert", str(run), "--to", to, "-o", str(out), *words]) == 0
    return out


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if not form.is_placement])
def test_what_is_written_is_read_back(
    to: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = converted(run, to, tmp_path)
    command = capsys.readouterr().err.partition("python -m explorer ")[2].split()
    assert main([*command, "--runs", str(tmp_path / "back"), "--json"]) == 0
    back = Path(json.loads(capsys.readouterr().out)["path"])
    expected = loads_of(run)
    per_step = to in ("csv", "parquet", "vllm-eplb")
    np.testing.assert_array_equal(loads_of(back), expected if per_step else expected.sum(0, keepdims=True))
    assert list(RunFolder(back).info.layer_numbers) == LAYERS
    assert RunFolder(back).info.top_k == 2
    assert detect_format(out) == FORMATS[to].import_as


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_table_keeps_steps_and_biases(to: str, run: Path, tmp_path: Path) -> None:
    out = converted(run, to, tmp_path)
    table = pl.read_csv(out) if to == "csv" else pl.read_parquet(out)
    assert table.columns == ["step", "layer", "expert", "tokens", "expert_bias"]
    back = RunFolder(import_one(out, tmp_path, num_experts=8).path).read("expert_loads")
    before = RunFolder(run).read("expert_loads")
    keys = table.columns[:3]
    assert back.select(table.columns).sort(keys).equals(before.select(table.columns).sort(keys))
    assert before["step"].unique().sort().to_list() == [0, 10, 20, 30]


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_table_has_the_names_of_layers(to: str, tmp_path: Path) -> None:
    names = ["model.layers.2.mlp.gate", "model.layers.5.mlp, gate"]
    with Recorder(
        tmp_path / "own", num_layers=2, num_experts=8, top_k=2, run_id="a", layer_numbers=[2, 5],
        layer_names=names, report_every_s=None,
    ) as rec:  # fmt: skip
        rec.log(0, tokens_per_expert=random_counts()[0][:2])
    out = converted(tmp_path / "own" / "a", to, tmp_path)
    table = pl.read_csv(out) if to == "csv" else pl.read_parquet(out)
    named = table.select("layer", "layer_name").unique().sort("layer").rows()
    assert named == list(zip([2, 5], names, strict=True))
    np.testing.assert_array_equal(
        loads_of(import_one(out, tmp_path, num_experts=8).path), loads_of(tmp_path / "own" / "a")
    )


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if form.is_placement])
def test_a_placement_has_every_expert_and_its_replicas(to: str, run: Path, tmp_path: Path) -> None:
    out = converted(run, to, tmp_path, "--ep-size", "2", "--redundant-experts", "4")
    rows = json.loads(out.read_text())
    if to.startswith("sglang"):
        rows = rows["physical_to_logical_map"]
        assert rows[0] == rows[1] == rows[4] == [*range(8), 0, 1, 2, 3]
        rows = [rows[layer] for layer in LAYERS]
    np.testing.assert_array_equal(rows, plan(loads_of(run).sum(0), slots=12, gpus=2))
    replicas = loads_of(import_one(out, tmp_path, "placement_map"))[0]
    if to.startswith("sglang"):
        replicas = replicas[LAYERS]
    np.testing.assert_array_equal(replicas, [np.bincount(row, minlength=8) for row in rows])
    assert (replicas >= 1).all()


def test_the_layers_of_the_whole_model_are_rows_of_sglang(run: Path, tmp_path: Path) -> None:
    out = converted(run, "sglang", tmp_path, "--num-layers", "7", "--steps", "10-20")
    rows = np.asarray(json.loads(out.read_text())["logical_count"])
    assert rows.shape == (7, 8)
    assert not rows[[0, 1, 4, 6]].any()
    np.testing.assert_array_equal(rows[LAYERS], loads_of(run)[1:3].sum(0))


def test_loads_are_read_in_windows(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.outward.loads.WINDOW_CELLS", 24)
    for to in ("csv", "parquet", "vllm-eplb"):
        back = import_one(converted(run, to, tmp_path), tmp_path, num_experts=8)
        np.testing.assert_array_equal(loads_of(back), loads_of(run))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "sgl"], "is not a known format"),
        (["--to", "csv", "--steps", "9-1"], "must be FIRST-LAST"),
        (["--to", "csv", "--steps", "50-60"], "has no loads of experts in these steps"),
        (["--to", "sglang", "--num-layers", "5"], "must be more than"),
        (["--to", "vllm-placement", "--ep-size", "3"], "must divide the 8 slots"),
        (["--to", "vllm-placement", "--ep-size", "0"], "must be a whole number from 1"),
        (["--to", "csv", "-o", "nowhere/x.csv"], "lies in a folder that does not exist"),
        ([], "is required"),
    ],
)
def test_a_wrong_order_is_one_sentence_and_leaves_no_file(
    words: list[str], sentence: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.json"
    assert main(["convert", str(run), "-o", str(out), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.glob("x.json*")) == []


def test_a_file_is_not_overwritten_unless_forced(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = converted(run, "csv", tmp_path)
    assert main(["convert", str(run), "--to", "csv", "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    converted(run, "csv", tmp_path, "--force")


def test_layers_of_different_width_fit_into_a_table_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Recorder(
        tmp_path, num_layers=2, num_experts=[4, 2], top_k=1, run_id="u", report_every_s=None
    ) as rec:
        rec.log(0, tokens_per_expert=[np.arange(4), np.arange(2)])
    assert main(["convert", str(tmp_path / "u"), "--to", "eplb", "-o", str(tmp_path / "w.npy")]) == 2
    assert "layers of different width" in capsys.readouterr().err
    assert len(pl.read_csv(converted(tmp_path / "u", "csv", tmp_path))) == 6
