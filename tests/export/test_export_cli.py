"""`python -m explorer export`: what a page shows, in files, without a browser."""

import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from sentences import sentence
from store_runs import write_run

from explorer.cli import main

ROOT = Path(__file__).resolve().parents[2]
INDEXED = r"explorer export: index brought up to date in \d+\.\d s \(2 runs read\)\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("none", "loss_free"):
        write_run(
            folder, f"{name}-seed0", steps=12, bias=name == "loss_free", balancer=name, balancer_family=name
        )
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shipped runs, an index of its own, nothing remembered of other tests."""
    monkeypatch.setenv("EXPLORER_SHIPPED_RUNS", str(tmp_path / "nothing"))
    monkeypatch.setenv("EXPLORER_RUNS", str(tmp_path / "own"))
    monkeypatch.setenv("EXPLORER_INDEX", str(tmp_path / "index.duckdb"))


def failing(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["export", *map(str, arguments)]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("explorer export: ")
    return message.splitlines()[-1]


def test_a_bundle_of_two_runs(runs: Path, tmp_path: Path) -> None:
    """A process of its own, as a stranger uses it; standard error tells what the index took."""
    command = [sys.executable, "-m", "explorer", "export", str(runs / "none-seed0"), "loss_free-seed0"]
    command += ["--format", "bundle", "--out", str(tmp_path / "out"), "--width-mm", "85"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0
    assert re.fullmatch(INDEXED, done.stderr)
    path = Path(done.stdout.strip())
    assert path == tmp_path / "out" / "compare-none-seed0-loss-free-seed0.zip"
    manifest = json.loads(zipfile.ZipFile(path).read("manifest.json"))
    assert manifest["problems"] == []
    assert manifest["settings"]["width_mm"] == 85
    assert {run["run_id"] for run in manifest["runs"]} == {"none-seed0", "loss_free-seed0"}
    assert manifest["permalink"].startswith("/compare?runs=none-seed0&runs=loss_free-seed0")


def test_streamlit_is_not_needed(runs: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys; from explorer.cli import main\n"
        "if __name__ == '__main__':\n"
        "    sys.modules['streamlit'] = None\n"
        "    sys.exit(max(main(['export', *arguments]) for arguments in json.loads(sys.argv[1])))"
    )
    views = (("compare", ["--format", "svg"]), ("replay", ["--format", "gif"]), ("theory", ["--list"]))
    arguments = [
        ["--runs", str(runs), "--view", view, "--out", str(tmp_path / view), *extra] for view, extra in views
    ]
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    # The first one builds the index.
    assert re.fullmatch(INDEXED, done.stderr)
    assert len(done.stdout.splitlines()) >= len(views)


def test_pandas_is_not_loaded_and_can_be_loaded_afterwards(runs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from explorer.cli import main\n"
        "assert main(['export', *sys.argv[1:]]) == 0\n"
        "assert 'pandas' not in sys.modules; import pandas"
    )
    arguments = ["--runs", str(runs), "--view", "compare", "--format", "csv", "--out", str(tmp_path / "x")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_figure_into_one_file_and_several_into_a_folder(runs: Path, tmp_path: Path) -> None:
    one = tmp_path / "deep" / "vio.png"
    common = ["none-seed0", "loss_free-seed0", "--runs", runs, "--view", "compare"]
    figure = ["--figure", "compare-max-vio", "--format", "png", "--dpi", "100", "--no-title"]
    assert main(["export", *map(str, common), *figure, "--out", str(one)]) == 0
    width = struct.unpack(">I", one.read_bytes()[16:20])[0]
    assert width == pytest.approx(174 / 25.4 * 100, abs=1)
    folder = tmp_path / "data"
    assert main(["export", *map(str, common), "--format", "csv", "--out", str(folder)]) == 0
    names = {path.stem for path in folder.iterdir()}
    assert {"compare-max-vio", "compare-loss", "compare-plane", "compare-loads-none-seed0"} <= names
    table = pl.read_csv(folder / "compare-max-vio.csv")
    assert set(table["run_id"]) == {"none-seed0", "loss_free-seed0"}


def test_an_animation_of_a_layer(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.gif"
    arguments = ["loss_free-seed0", "--runs", runs, "--view", "replay", "--set", "layer=1"]
    assert main(["export", *map(str, arguments), "--format", "gif", "--out", str(out)]) == 0
    assert Image.open(io.BytesIO(out.read_bytes())).n_frames == 12


def test_the_figures_of_a_page_are_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--runs", str(runs), "--view", "replay", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines][:2] == ["replay-heatmap", "replay-loads"]


def test_nothing_is_overwritten_unless_asked_for(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vio.svg"
    out.write_text("mine")
    figure = [
        "--runs",
        runs,
        "--view",
        "compare",
        "--figure",
        "compare-max-vio",
        "--format",
        "svg",
        "--out",
        out,
    ]
    assert "exists already" in failing(capsys, *figure)
    assert out.read_text() == "mine"
    assert main(["export", *map(str, figure), "--force"]) == 0
    assert out.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["gone", "--view", "compare"], ["'gone'", sentence("errors.choose_one_of"), "loss_free-seed0"]),
        (["--view", "nowhere"], ["--view = 'nowhere'", "compare", "replay"]),
        (["--format", "tiff"], ["--format = 'tiff'", "png", "bundle"]),
        (["--view", "compare", "--figure", "maxvio"], ["--figure = 'maxvio'", "compare-max-vio"]),
        (["none-seed0", "loss_free-seed0", "--view", "replay"], ["shows one run"]),
        (["--view", "overview", "--format", "gif"], ["has no animation", "--view replay"]),
        (["none-seed0", "--view", "theory"], [sentence("export.independent_of_runs"), "--view compare"]),
        (["--set", "layer"], ["--set = 'layer'", "key=value"]),
        (["--width-mm", "5"], ["width_mm", "40"]),
        (["--width-mm", "wide"], ["width_mm", "one-column"]),
    ],
)
def test_a_wrong_input_is_one_sentence(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    message = failing(capsys, *arguments, "--runs", runs)
    assert all(part in message for part in parts), message


def test_a_folder_of_runs_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence("errors.folder") in failing(capsys, "--runs", tmp_path / "no")


def test_what_a_page_says_of_its_link_is_passed_on(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--runs", str(runs), "--view", "replay", "--set", "layer=9", "--list"]
    assert main(["export", *arguments]) == 0
    assert sentence("links.asks_for", name="layer", value=9) in capsys.readouterr().err


def test_an_index_that_another_process_holds_is_no_obstacle(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from explorer.store import Index\n"
        "with Index.open(Path(sys.argv[1])): print('held', flush=True); time.sleep(300)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, os.environ["EXPLORER_INDEX"]], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        arguments = ["--runs", str(runs), "--view", "replay", "--list"]
        assert main(["export", *arguments]) == 0
        output = capsys.readouterr()
        assert "replay-heatmap" in output.out
        assert "explorer export: " in output.err
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
