"""A small run that the recording tests write."""

from pathlib import Path

import numpy as np

from explorer.recording import RunFolder, RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord

L, E, K = 2, 4, 2


def make_info(run_id: str = "run") -> RunInfo:
    return RunInfo(
        run_id=run_id, name="a run", num_moe_layers=L, num_experts=E, top_k=K, tokens_per_step=8, num_steps=9
    )


def loads(step: int, value: int | None = None) -> LoadRecord:
    return LoadRecord(step=step, tokens_LE=np.full((L, E), step if value is None else value))


def give(recorder: RunWriter, *steps: int, value: int | None = None) -> None:
    for step in steps:
        recorder.record(StepRecord(step=step, tokens_seen=8 * (step + 1), lm_loss=1.0, wall_time_s=step + 1))
        recorder.record(loads(step, value))
        recorder.step_done(step)


def steps_of(path: Path, table: str = "steps") -> list[int]:
    return sorted(RunFolder(path).read(table)["step"].to_list())
