"""`Recorder` at its edges: settings that are wrong from the start, and ends that nobody planned."""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.errors import RunFolderError
from explorer.recording import Recorder, RunFolder
from explorer.recording import loop as loop_module
from explorer.recording import run_writer as run_writer_module

ROOT = Path(__file__).parents[2]
COUNTS_LE = np.ones((2, 4), dtype=int)


def make(path: Path, **changes: Any) -> Recorder:
    sizes: dict[str, Any] = {"num_layers": 2, "num_experts": 4, "top_k": 2, "run_id": "run"}
    return Recorder(path, **{"report_every_s": None, **sizes, **changes})


@dataclass
class Settings:
    lr: float = 0.5


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (None, {}),
        (argparse.Namespace(lr=0.5, out=Path("runs")), {"lr": 0.5, "out": "runs"}),
        (Settings(), {"lr": 0.5}),
        ({"model": Settings(), "sizes": (1, np.int64(2))}, {"model": {"lr": 0.5}, "sizes": [1, 2]}),
        ({"dtype": np.dtype("float32"), "names": {"a"}}, {"dtype": "float32", "names": ["a"]}),
        ({3: complex(1)}, {"3": "(1+0j)"}),
    ],
)
def test_a_configuration_in_any_form_is_kept(tmp_path: Path, config: Any, kept: dict[str, Any]) -> None:
    make(tmp_path, config=config).finish()
    assert RunFolder(tmp_path / "run").info.config == kept


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_layers": 0}, "num_layers = 0: must be at least 1"),
        ({"top_k": 0}, "top_k = 0: must be at least 1"),
        ({"config": [1]}, r"config = \[1\]: must be a dictionary, a Namespace or a dataclass"),
        ({"ranks": "all"}, "ranks = 'all': must be one of sum, keep, off"),
        ({"report_every_s": "30"}, "report_every_s = '30': must be a number of seconds, or None"),
    ],
)
def test_a_wrong_setting_is_refused_before_the_training(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunFolderError, match=says):
        make(tmp_path, **changes)
    assert not any(tmp_path.iterdir())


PROGRAM = """
import sys
import numpy as np
from explorer.recording import Recorder
rec = Recorder(sys.argv[1], num_layers=2, num_experts=4, top_k=2, run_id="run", report_every_s=None)
for step in range(3):
    rec.log(step, tokens_per_expert=np.ones((2, 4)))
raise SystemExit(3)
"""


def test_a_program_that_forgets_finish_loses_nothing(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT).returncode == 3
    folder = RunFolder(tmp_path / "run")
    assert folder.read("steps")["step"].sort().to_list() == [0, 1, 2]
    assert (folder.status.state, folder.status.message) == (
        "interrupted",
        "the program ended without finish()",
    )


def test_steps_that_a_full_disk_kept_out_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec = make(tmp_path)
    assert rec._writer is not None
    assert rec._writer._recorder is not None

    def refuse(batch: Any) -> None:
        raise RunFolderError("the disk is full.")

    monkeypatch.setattr(rec._writer._recorder._writer, "write", refuse)
    for step in range(5):
        rec.log(step, tokens_per_expert=COUNTS_LE)
    rec.finish()
    assert rec.num_unwritten == 5
    assert "the disk is full.). 5 steps are not in the folder." in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").status.state == "failed"


def test_a_deleted_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_writer_module, "FLUSH_INTERVAL_S", 0.0)
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=COUNTS_LE)
        while RunFolder(tmp_path / "run").last_step < 0:
            time.sleep(0.01)
        shutil.rmtree(tmp_path / "run")
        rec.log(1, tokens_per_expert=COUNTS_LE)
    warning = capsys.readouterr().err
    assert "run/" in warning
    assert "cannot be written (No such file or directory)" in warning
    assert "resumed elsewhere" not in warning
    assert rec.num_unwritten >= 1
    assert not (tmp_path / "run").exists()


def test_an_end_that_cannot_wait_longer_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop_module, "PATIENCE_S", 0.1)
    rec = make(tmp_path)
    door = threading.Event()
    assert rec._writer is not None
    monkeypatch.setattr(rec._writer, "write", lambda item: door.wait(60))
    for step in range(3):
        rec.log(step, tokens_per_expert=COUNTS_LE)
    rec.finish()
    door.set()
    assert rec.num_unwritten == 3
    assert "waiting for a disk; the last 3 steps are not in the folder" in capsys.readouterr().err
