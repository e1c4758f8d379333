"""`Recorder`: what a training loop hands over reaches the folder, and nothing it does stops the loop."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from explorer.errors import RunFolderError
from explorer.recording import Recorder, RunFolder
from explorer.recording import loop as loop_module
from explorer.recording.tensors import own_copy

L, E, K = 2, 4, 2
ROOT = Path(__file__).parents[2]


def counts(step: int) -> np.ndarray:
    """[L, E] of 6 tokens of K experts each."""
    return np.roll(np.array([[5, 4, 3, 0], [3, 3, 3, 3]]), step, axis=1)


def make(path: Path, **changes: Any) -> Recorder:
    sizes: dict[str, Any] = {"num_layers": L, "num_experts": E, "top_k": K, "run_id": "run"}
    return Recorder(path, **{"report_every_s": None, **sizes, **changes})


def loads(path: Path, column: str = "tokens") -> dict[int, list[float]]:
    """Step -> the values of a column, ordered by layer and expert."""
    frame = RunFolder(path / "run").read("expert_loads").sort("step", "layer", "expert")
    return {step: part[column].to_list() for (step,), part in frame.group_by("step", maintain_order=True)}


def steps(path: Path) -> pl.DataFrame:
    return RunFolder(path / "run").read("steps").sort("step")


def test_three_lines_record_a_run(tmp_path: Path) -> None:
    with make(
        tmp_path, config={"lr": 0.1}, layer_names=["blocks.1", "blocks.3"], layer_numbers=[1, 3]
    ) as rec:
        for step in range(5):
            bias = np.full((L, E), step / 8)
            rec.log(step, tokens_per_expert=counts(step), expert_bias=bias, lm_loss=step / 2, tokens_seen=9)
    folder = RunFolder(tmp_path / "run")
    assert folder.status.state == "finished"
    assert loads(tmp_path) == {step: counts(step).reshape(-1).tolist() for step in range(5)}
    assert loads(tmp_path, "expert_bias")[4] == [0.5] * (L * E)
    assert steps(tmp_path)["lm_loss"].to_list() == [0, 0.5, 1, 1.5, 2]
    assert steps(tmp_path)["tokens_seen"].to_list() == [9] * 5
    assert folder.info.config == {"lr": 0.1, "layer_names": ["blocks.1", "blocks.3"]}
    assert folder.read("expert_loads")["layer"].unique().sort().to_list() == [1, 3]
    assert (folder.info.num_steps, folder.info.tokens_per_step) == (5, 6)


def test_it_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from explorer.recording import Recorder\n"
        f"with Recorder({str(tmp_path)!r}, num_layers=1, num_experts=2, top_k=1, run_id='run') as rec:\n"
        "    rec.log(0, tokens_per_expert=[[1, 2]], selected_experts=None)\n"
        "assert not {'torch', 'scipy', 'duckdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
    assert loads(tmp_path) == {0: [1, 2]}


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_any_type_of_number(tmp_path: Path, dtype: str) -> None:
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=counts(0).astype(dtype), expert_bias=np.zeros((L, E), np.int16))
    assert loads(tmp_path) == {0: counts(0).reshape(-1).tolist()}


@pytest.mark.parametrize("dtype", ["int32", "int64", "bfloat16", "float32"])
def test_tensors_and_lists_of_tensors(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    given = torch.from_numpy(counts(0)).to(getattr(torch, dtype))
    bias = torch.zeros(L, E, requires_grad=True)
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=given, expert_bias=bias, lm_loss=torch.tensor(2.5, requires_grad=True))
        rec.log(1, tokens_per_expert=list(given), expert_bias=list(bias))
        given += 1  # the loop reuses its buffer
    assert loads(tmp_path) == {step: counts(0).reshape(-1).tolist() for step in (0, 1)}
    assert steps(tmp_path)["lm_loss"].to_list() == [2.5, None]


def test_layers_of_different_width(tmp_path: Path) -> None:
    with make(tmp_path, num_experts=[2, 4]) as rec:
        rec.log(
            0,
            tokens_per_expert=[np.array([5, 7]), np.array([3, 3, 3, 3])],
            expert_bias=[[0, 1], [2, 3, 4, 5]],
        )
    assert loads(tmp_path) == {0: [5, 7, 3, 3, 3, 3]}
    assert loads(tmp_path, "expert_bias") == {0: [0, 1, 2, 3, 4, 5]}


def test_missing_fields_and_sparse_steps(tmp_path: Path) -> None:
    with make(tmp_path) as rec:
        rec.log(0, lm_loss=3.0)
        rec.log(10, tokens_per_expert=counts(0))
        rec.log(25)
        rec.log(30, tokens_per_expert=counts(1), lm_loss=1.0)
    assert loads(tmp_path).keys() == {10, 30}
    assert steps(tmp_path).select("step", "lm_loss", "tokens_seen").rows() == [
        (0, 3.0, 0),
        (10, None, 6),
        (25, None, 6),
        (30, 1.0, 12),
    ]


def test_a_buffer_that_the_loop_reuses(tmp_path: Path) -> None:
    buffer = np.zeros((L, E), dtype=np.int64)
    with make(tmp_path) as rec:
        for step in range(3):
            buffer[:] = counts(step)
            rec.log(step, tokens_per_expert=buffer)
    assert loads(tmp_path) == {step: counts(step).reshape(-1).tolist() for step in range(3)}


BAD = {
    "shape": ({"tokens_per_expert": np.zeros((L, E + 1), int)}, "tokens_per_expert of step 1 = shape (2, 5)"),
    "negative": ({"tokens_per_expert": -counts(0)}, "tokens_per_expert of step 1 = -5 to 0"),
    "share": ({"tokens_per_expert": counts(0) / 24}, "tokens_per_expert of step 1"),
    "object": ({"tokens_per_expert": object()}, "tokens_per_expert of step 1"),
    "ids": ({"selected_experts": np.full((L, 3, K), E)}, "12 ids beyond the last expert"),
    "id layers": (
        {"selected_experts": np.zeros((L + 1, 3, K), int)},
        "must have one array per MoE layer (2)",
    ),
    "mask": (
        {"selected_experts": np.zeros((L, 3, K), int), "mask": [1, 1]},
        "as there are tokens (3), not 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_counts_cost_one_sentence_and_the_counts_of_their_step(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values, sentence = BAD[name]
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=counts(0))
        rec.log(1, lm_loss=2.0, **values)
        rec.log(2, tokens_per_expert=counts(2))
    warnings = capsys.readouterr().err
    assert sentence in warnings
    assert warnings.count("\n") == 1
    assert loads(tmp_path).keys() == {0, 2}
    assert steps(tmp_path)["lm_loss"].to_list() == [None, 2.0, None]


def test_a_bad_field_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path) as rec:
        for step in range(3):
            rec.log(
                step,
                tokens_per_expert=counts(0),
                expert_bias=np.zeros(3),
                dropped_tokens=np.ones((L, E), int),
                lm_loss="much",
                grad_norm=1.5,
            )
    warnings = capsys.readouterr().err
    assert warnings.count("\n") == 2
    assert "expert_bias of step 0 = shape (3,): must have the shape (L = 2, E = 4)" in warnings
    assert "lm_loss of step 0 = 'much': must be one number, not str" in warnings
    assert loads(tmp_path, "expert_bias")[2] == [None] * (L * E)
    assert loads(tmp_path, "dropped_tokens")[2] == [1] * (L * E)
    assert steps(tmp_path)["grad_norm"].to_list() == [1.5] * 3


@pytest.mark.parametrize("step", [-1, 0.5, "one", None, 2**70])
def test_a_bad_step_is_skipped(tmp_path: Path, step: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=counts(0))
        rec.log(step, tokens_per_expert=counts(1))
        rec.log(1, tokens_per_expert=counts(1))
    assert "the step is not recorded" in capsys.readouterr().err
    assert loads(tmp_path).keys() == {0, 1}
    assert rec.num_unwritten == 1


def test_a_step_given_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path) as rec:
        rec.log(3, tokens_per_expert=counts(0))
        rec.log(3, tokens_per_expert=counts(1))
    assert "step 3 was logged already" in capsys.readouterr().err
    assert loads(tmp_path) == {3: counts(0).reshape(-1).tolist()}


def test_a_loop_that_goes_back_to_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path) as rec:
        for step in [0, 1, 2, 3, 2, 3, 4]:
            rec.log(step, tokens_per_expert=counts(step), lm_loss=float(step))
    assert "step 2 comes after step 3: taken as a restart" in capsys.readouterr().err
    assert steps(tmp_path)["tokens_seen"].to_list() == [6, 12, 18, 24, 30]
    assert len(RunFolder(tmp_path / "run").attempts) == 2
    assert loads(tmp_path) == {step: counts(step).reshape(-1).tolist() for step in range(5)}


def test_run_id_resumes_the_run(tmp_path: Path) -> None:
    for first in (0, 3):
        with make(tmp_path) as rec:
            for step in range(first, first + 3):
                rec.log(step, tokens_per_expert=counts(step))
    assert steps(tmp_path)["tokens_seen"].to_list() == [6, 12, 18, 24, 30, 36]
    assert [a.first_step for a in RunFolder(tmp_path / "run").attempts] == [0, 3]
    assert RunFolder(tmp_path / "run").info.num_steps == 6


def test_sizes_that_make_no_sense_are_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="top_k = 9"):
        make(tmp_path, top_k=9)
    with pytest.raises(RunFolderError, match="must be 2 names"):
        make(tmp_path, layer_names=["a"])
    make(tmp_path).finish()
    with pytest.raises(RunFolderError, match="other layers, experts or top_k"):
        make(tmp_path, num_experts=8)


def test_an_exception_of_the_loop_goes_through_and_is_noted(tmp_path: Path) -> None:
    def train() -> None:
        with make(tmp_path) as rec:
            rec.log(0, tokens_per_expert=counts(0))
            raise ZeroDivisionError("of the loop")

    with pytest.raises(ZeroDivisionError):
        train()
    status = RunFolder(tmp_path / "run").status
    assert (status.state, status.message) == ("failed", "ZeroDivisionError: of the loop")
    assert loads(tmp_path).keys() == {0}


def test_logging_after_the_end_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec = make(tmp_path)
    rec.finish()
    rec.log(0, tokens_per_expert=counts(0))
    rec.finish("failed")
    assert "log(0) after the end of run" in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").status.state == "finished"


def test_a_full_queue_loses_steps_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop_module, "MAX_QUEUED_STEPS", 8)
    with make(tmp_path) as rec:
        gate = BlockedEvent()
        assert rec._writer is not None
        write = rec._writer.write
        monkeypatch.setattr(rec._writer, "write", lambda item: (gate.wait(), write(item)))
        for step in range(40):
            rec.log(step, tokens_per_expert=counts(step))
        gate.open()
        while rec._queue.qsize():
            time.sleep(0.01)
        rec.log(40, tokens_per_expert=counts(40))
    recorded = loads(tmp_path)
    assert 8 <= len(recorded) <= 10
    assert rec.num_lost == rec.num_unwritten == 41 - len(recorded)
    assert capsys.readouterr().err.count("came faster than they could be written") == 1
    events = RunFolder(tmp_path / "run").read("events")
    assert events.select("step", "kind").rows() == [(40, "recording_gap")]
    assert events["detail"].item().startswith(f"{rec.num_lost} steps")


class BlockedEvent:
    """A door that the recorder's thread waits at."""

    def __init__(self) -> None:
        self._event = multiprocessing.get_context("spawn").Event()
        self.open = self._event.set

    def wait(self) -> None:
        self._event.wait(60)


def test_a_disk_that_refuses_does_not_reach_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from explorer.recording import run_writer

    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", 0.0)
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=counts(0))
        while rec._queue.qsize():
            time.sleep(0.01)
        assert rec._writer is not None
        assert rec._writer._recorder is not None
        real = rec._writer._recorder._writer.write

        def refuse(batch: Any) -> None:
            raise RunFolderError("the disk is full.")

        monkeypatch.setattr(rec._writer._recorder._writer, "write", refuse)
        step = 0
        while "disk" not in rec._notices._kinds and step < 500:  # a busy machine needs more of them
            step += 1
            rec.log(step, tokens_per_expert=counts(step))
            time.sleep(0.02)
        monkeypatch.setattr(rec._writer._recorder._writer, "write", real)
    assert capsys.readouterr().err.count("the disk is full. The steps are kept in memory") == 1
    assert loads(tmp_path).keys() == set(range(step + 1))


CHILD = """
import sys, time
import numpy as np
from explorer.recording import Recorder
with Recorder(sys.argv[1], num_layers=2, num_experts=4, top_k=2, run_id="run", report_every_s=None) as rec:
    for step in range(100_000):
        rec.log(step, tokens_per_expert=np.full((2, 4), step))
        print(step, flush=True)
        time.sleep(0.01)
"""


def test_it_survives_a_kill_and_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while not (tmp_path / "run").exists() or RunFolder(tmp_path / "run").last_step < 5:
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = RunFolder(tmp_path / "run")
    last = folder.last_step
    assert folder.status.state == "interrupted"
    with make(tmp_path) as rec:
        rec.log(last + 1, tokens_per_expert=np.full((L, E), last + 1))
    assert loads(tmp_path) == {step: [step] * (L * E) for step in range(last + 2)}


def test_a_forked_child_leaves_the_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path) as rec:
        rec.log(0, tokens_per_expert=counts(0))
        rec._process = os.getpid() + 1  # what a child sees
        rec.log(1, tokens_per_expert=counts(1))
        rec.finish()
        rec._process = os.getpid()
    assert loads(tmp_path).keys() == {0}


def test_layers_in_a_list_are_copied_whatever_they_are() -> None:
    """In one call where they are alike; without the graph of a parameter, apart from the loop's memory."""
    parameters = [torch.nn.Parameter(torch.full((4,), float(n))) for n in range(3)]
    joined = own_copy(parameters)
    assert isinstance(joined, torch.Tensor)
    assert not joined.requires_grad
    assert joined.grad_fn is None
    lists: list[Any] = [parameters, (torch.zeros(4), torch.zeros(5)), [torch.zeros(4), np.zeros(4)]]
    for several in lists:
        copies = list(own_copy(several))
        before = [np.array(copy) for copy in copies]
        with torch.no_grad():
            for layer in several:
                layer += 1
        assert all(np.array_equal(copy, old) for copy, old in zip(copies, before, strict=True))
