"""The run folder: what is written is what is read."""

from pathlib import Path

import numpy as np
import pytest

from explorer.errors import RunFolderError
from explorer.recording import FolderRecorder, RunFolder, RunInfo, list_runs
from explorer.records import LoadRecord, StepRecord

L, E = 2, 4


def info(run_id: str = "run") -> RunInfo:
    return RunInfo(
        run_id=run_id, name="a run", num_moe_layers=L, num_experts=E, top_k=2, tokens_per_step=8, num_steps=9
    )


def give(recorder: FolderRecorder, step: int, value: int | None = None) -> None:
    counts = np.full((L, E), step if value is None else value)
    recorder.record(StepRecord(step=step, tokens_seen=8 * (step + 1), lm_loss=1.0))
    recorder.record(LoadRecord(step=step, tokens_LE=counts))
    recorder.step_done(step)


def test_a_run_is_written_read_and_listed(tmp_path: Path) -> None:
    with FolderRecorder.create(tmp_path, info()) as recorder:
        for step in range(5):
            give(recorder, step)
    run = RunFolder(tmp_path / "run")
    loads = run.read("expert_loads").sort("step", "layer", "expert")
    assert loads["tokens"].to_list() == [s for s in range(5) for _ in range(L * E)]
    assert loads["expert_bias"].null_count() == 5 * L * E
    assert (run.last_step, run.generation, run.status.state) == (4, 1, "finished")
    assert run.info == info() or run.info.run_id == "run"
    assert [r.run_id for r in list_runs(tmp_path)] == ["run"]


def test_what_is_flushed_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    recorder = FolderRecorder.create(tmp_path, info())
    give(recorder, 0)
    recorder.flush()
    give(recorder, 1)
    run = RunFolder(recorder.path)
    assert run.read("steps")["step"].to_list() == [0]
    assert (run.last_step, run.status.state) == (0, "running")


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    FolderRecorder.create(tmp_path, info())
    with pytest.raises(RunFolderError, match="exists already"):
        FolderRecorder.create(tmp_path, info())
