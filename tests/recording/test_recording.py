"""The writer: what is given is what is read, and how a run ends."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recording_runs import E, L, give, loads, make_info, steps_of
from sentences import pattern

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, run_writer
from explorer.recording.folder_schema import MAX_TEXT
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalRecord,
    EventRecord,
    LoadRecord,
    Recorder,
)

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


def test_it_is_a_recorder(recorder: RunWriter) -> None:
    assert isinstance(recorder, Recorder)


def test_a_run_is_written_and_read(tmp_path: Path) -> None:
    info = make_info()
    with RunWriter.create(tmp_path, info) as recorder:
        give(recorder, *range(5))
    run = RunFolder(tmp_path / "run")
    table = run.read("expert_loads").sort("step", "layer", "expert")
    assert table["tokens"].to_list() == [s for s in range(5) for _ in range(L * E)]
    assert table["expert_bias"].null_count() == 5 * L * E
    assert table["dropped_tokens"].to_list() == [0] * (5 * L * E)
    assert (run.last_step, run.generation, run.status.state) == (4, 1, "finished")
    assert run.info == info


def test_what_is_flushed_can_be_read_while_the_run_goes_on(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.flush()
    give(recorder, 1)
    run = RunFolder(recorder.path)
    assert steps_of(recorder.path) == [0]
    assert (run.last_step, run.status.state) == (0, "running")


def test_a_flush_writes_whole_steps_only(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.record(loads(1))
    recorder.record(EvalRecord(step=1, split="held_out", domain="a", lm_loss=1.0, num_tokens=1, num_bytes=1))
    recorder.flush()
    assert steps_of(recorder.path, "expert_loads") == [0] * L * E
    assert steps_of(recorder.path, "evals") == []
    recorder.step_done(1)
    recorder.flush()
    assert steps_of(recorder.path, "evals") == [1]


def test_step_done_flushes_by_itself_once_the_interval_is_over(
    recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", 0.0)
    give(recorder, 0)
    recorder._settle(wait=True)
    assert steps_of(recorder.path) == [0]


def test_step_done_flushes_when_much_is_in_memory(
    recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "MAX_PENDING_CELLS", 3 * L * E)
    give(recorder, 0, 1)
    assert steps_of(recorder.path) == []
    give(recorder, 2)
    recorder._settle(wait=True)
    assert steps_of(recorder.path) == [0, 1, 2]


def test_a_buffer_that_the_loop_reuses_is_copied(recorder: RunWriter) -> None:
    counts, bias = np.ones((L, E), dtype=np.int64), np.ones((L, E), dtype=np.float32)
    recorder.record(LoadRecord(step=0, tokens_LE=counts, expert_bias_LE=bias))
    counts += 41
    bias += 41
    recorder.step_done(0)
    recorder.flush()
    table = RunFolder(recorder.path).read("expert_loads")
    assert set(table["tokens"]) == {1}
    assert set(table["expert_bias"]) == {1.0}


def test_counts_above_two_to_the_53_stay_exact(recorder: RunWriter) -> None:
    large = np.arange(L * E).reshape(L, E) + 2**53 + 1
    recorder.record(LoadRecord(step=0, tokens_LE=large))
    recorder.finish("finished")
    table = RunFolder(recorder.path).read("expert_loads").sort("layer", "expert")
    assert table["tokens"].to_list() == large.reshape(-1).tolist()


def test_an_evaluation_after_the_last_step_is_kept(recorder: RunWriter) -> None:
    give(recorder, 0, 1)
    final = EvalRecord(step=2, split="held_out", domain="a", lm_loss=1.0, num_tokens=1, num_bytes=1)
    recorder.record(final)
    recorder.finish("finished")
    assert steps_of(recorder.path, "evals") == [2]
    assert RunFolder(recorder.path).last_step == 1


def test_a_failed_run_keeps_whole_steps_and_events(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0)
            recorder.record(loads(1))
            recorder.record(EventRecord(step=1, kind="not_finite", detail="the loss is NaN"))
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        train()
    run = RunFolder(tmp_path / "run")
    assert set(steps_of(run.path, "expert_loads")) == {0}
    assert steps_of(run.path, "events") == [1]
    assert (run.status.state, run.status.message) == ("failed", "ZeroDivisionError: by zero")
    assert run.last_step == 0


def test_ctrl_c_leaves_an_interrupted_run(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    status = RunFolder(tmp_path / "run").status
    assert (status.state, status.message) == ("interrupted", "KeyboardInterrupt")


def test_finish_says_how_it_ended_and_ends_it(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.set_results({"max_vio": np.float32(0.5), "nothing": float("nan"), "losses": np.array([1, 2])})
    with pytest.raises(RunFolderError, match="state = 'done'"):
        recorder.finish("done")
    recorder.finish("stopped", "by the user")
    recorder.finish("failed")
    status = RunFolder(recorder.path).status
    assert (status.state, status.message) == ("stopped", "by the user")
    assert status.results == {"max_vio": 0.5, "nothing": None, "losses": [1, 2]}
    with pytest.raises(RunFolderError, match=pattern("recording.finished")):
        give(recorder, 1)


def test_throughput_comes_from_the_steps_unless_given(recorder: RunWriter) -> None:
    give(recorder, 0, 1)
    recorder.flush()
    status = RunFolder(recorder.path).status
    assert (status.wall_time_s, status.tokens_per_second, status.num_steps) == (2.0, 8.0, 9)
    recorder.set_throughput(wall_time_s=3.0, tokens_per_second=100.0)
    give(recorder, 2)
    recorder.flush()
    status = RunFolder(recorder.path).status
    assert (status.wall_time_s, status.tokens_per_second) == (3.0, 100.0)


def test_a_long_message_is_cut_and_the_status_can_be_read(tmp_path: Path) -> None:
    recorder = RunWriter.create(tmp_path, make_info())
    give(recorder, 0)
    with pytest.raises(ValueError, match="xxx"), recorder:
        raise ValueError("x" * 20_000)
    status = RunFolder(recorder.path).status
    assert (status.state, len(status.message)) == ("failed", MAX_TEXT)
    assert status.message.startswith("ValueError: xxx")
    assert status.message.endswith("x…")
    again = RunWriter.resume(recorder.path, 1)
    again.finish("stopped", "y" * MAX_TEXT)
    assert RunFolder(recorder.path).status.message == "y" * MAX_TEXT


def test_documents_lie_beside_the_tables(recorder: RunWriter) -> None:
    recorder.save_json("probe", {"tokens": np.arange(3)})
    recorder.save_json("tokenizer.json", ["é"])
    run = RunFolder(recorder.path)
    assert run.document("probe") == {"tokens": [0, 1, 2]}
    assert run.document("tokenizer") == ["é"]
    for name in ("run", "status.json", "../other", "a/b", ".hidden", "attempts", "manifest"):
        with pytest.raises(RunFolderError, match=pattern("recording.file_name")):
            recorder.save_json(name, {})


def test_recording_loads_no_heavy_package() -> None:
    code = (
        "import sys, explorer.recording\n"
        "heavy = {'torch', 'duckdb', 'streamlit', 'altair', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
