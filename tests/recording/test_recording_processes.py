"""Recording beside other processes: long steps, other hosts, forks, ranks and plain file systems."""

import errno
import fcntl
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from recording_runs import give, make_info, steps_of
from sentences import pattern, sentence
from torch.utils.data import DataLoader
from waiting import wait_for

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, RunStatus, opening
from explorer.recording import forks as forks_module
from explorer.recording import heartbeat as heartbeat_module
from explorer.recording.opening import make_folder
from explorer.recording.run_writer import RunWriter

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


def rewrite(path: Path, **fields: object) -> None:
    """Change status.json behind the writer's back; the file is then as old as its heartbeat."""
    file = path / "status.json"
    document = json.loads(file.read_text()) | fields
    file.write_text(json.dumps(document))
    os.utime(file, (document["heartbeat"], document["heartbeat"]))


def heartbeats(run_id: str) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == f"heartbeat-{run_id}"]


class TestHeartbeat:
    def test_it_beats_while_a_step_takes_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heartbeat_module, "INTERVAL_S", 0.005)
        recorder = RunWriter.create(tmp_path, make_info())
        give(recorder, 0)
        recorder.flush()
        rewrite(recorder.path, heartbeat=1.0)
        wait_for(lambda: RunFolder(recorder.path).status.heartbeat > 1.0)
        status = RunFolder(recorder.path).status
        assert (status.state, status.last_step, status.committed_step) == ("running", 0, 0)
        recorder.finish("finished")

    def test_it_stops_with_the_run(self, tmp_path: Path) -> None:
        recorder = RunWriter.create(tmp_path, make_info("stopping"))
        assert len(heartbeats("stopping")) == 1
        recorder.finish("finished")
        assert heartbeats("stopping") == []
        assert recorder._writer.beat() is False
        assert RunFolder(recorder.path).status.state == "finished"

    def test_it_stops_with_its_recorder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heartbeat_module, "INTERVAL_S", 0.005)
        RunWriter.create(tmp_path, make_info("dropped"))
        gc.collect()
        wait_for(lambda: heartbeats("dropped") == [])

    def test_a_disk_that_refuses_a_beat_is_tried_again(
        self, recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            assert recorder._writer.beat() is True
        rewrite(recorder.path, heartbeat=1.0)
        assert recorder._writer.beat() is True
        assert RunFolder(recorder.path).status.heartbeat > 1.0

    def test_it_keeps_no_interpreter_alive(self, tmp_path: Path) -> None:
        code = (
            "import sys; from explorer.recording import RunInfo\n"
            "from explorer.recording.run_writer import RunWriter\n"
            "info = RunInfo(run_id='run', name='', num_moe_layers=1, num_experts=1, top_k=1,"
            " tokens_per_step=1, num_steps=1)\n"
            "r = RunWriter.create(sys.argv[1], info)"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
        status = RunFolder(tmp_path / "run").status
        assert (status.state, status.message) == ("interrupted", sentence("recording.process_gone"))


class TestTakenOver:
    """A writer on another host that fell silent, was taken for dead, and goes on."""

    @pytest.fixture
    def silent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunWriter:
        with monkeypatch.context() as patch:
            patch.setattr(platform, "node", lambda: "node17")
            recorder = RunWriter.create(tmp_path, make_info())
            give(recorder, 0, 1, 2, value=1)
            recorder.flush()
        return recorder

    def test_it_cannot_be_taken_over_while_it_gives_signs_of_life(self, silent: RunWriter) -> None:
        with pytest.raises(
            RunFolderError,
            match=pattern("recording.written_on") + " .* on node17; .* " + pattern("recording.only_rank_0"),
        ):
            RunWriter.resume(silent.path, 3)

    def test_it_stops_with_a_sentence_and_the_new_attempt_loses_nothing(self, silent: RunWriter) -> None:
        rewrite(silent.path, heartbeat=time.time() - 181)
        status = RunFolder(silent.path).status
        assert (status.state, status.message) == (
            "interrupted",
            sentence("recording.no_sign_of_life_for", host="node17", minutes=3),
        )
        again = RunWriter.resume(silent.path, 2)
        give(again, 2, value=7)
        again.flush()
        message = pattern("recording.writer_has_stopped", step=2, attempt=1, own=0)
        give(silent, 3, 4, value=1)
        for call in (silent.flush, lambda: silent.finish("finished")):
            with pytest.raises(RunFolderError, match=message):
                call()
            assert RunFolder(silent.path).status.attempt == 1
        assert silent._writer.beat() is False
        give(again, 3, value=7)
        again.finish("finished")
        table = RunFolder(silent.path).read("expert_loads")
        assert table.select("step", "tokens").unique().sort("step").rows() == [(0, 1), (1, 1), (2, 7), (3, 7)]

    def test_it_leaves_its_block_and_says_nothing_for_the_other(self, silent: RunWriter) -> None:
        rewrite(silent.path, heartbeat=0.0)
        RunWriter.resume(silent.path, 3)
        with pytest.raises(ZeroDivisionError) as caught, silent:
            raise ZeroDivisionError
        assert "has stopped" in caught.value.__notes__[0]
        status = RunFolder(silent.path).status
        assert (status.state, status.attempt, status.message) == ("running", 1, "")

    def test_it_is_taken_over_in_the_middle_of_its_compaction(
        self, silent: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from explorer.recording import compaction

        write, others = compaction._write_sorted, []

        def meanwhile(*args: object) -> None:
            if not others:
                rewrite(silent.path, heartbeat=0.0)
                others.append(RunWriter.resume(silent.path, 2))
                give(others[0], 2, value=7)
                others[0].flush()
            write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(compaction, "_write_sorted", meanwhile)
        with pytest.raises(RunFolderError, match=pattern("recording.resumed_elsewhere")):
            silent.finish("finished")
        assert RunFolder(silent.path).generation == 0
        assert steps_of(silent.path) == [0, 1, 2]
        others[0].finish("finished")
        table = RunFolder(silent.path).read("expert_loads")
        assert table.select("step", "tokens").unique().sort("step").rows() == [(0, 1), (1, 1), (2, 7)]


class TestSeveralAtOnce:
    """Every rank of a job resumes the run."""

    @pytest.fixture
    def ended(self, recorder: RunWriter) -> Path:
        give(recorder, 0, 1)
        recorder.finish("stopped")
        return recorder.path

    def test_without_locks_the_one_that_was_overwritten_stops(
        self, ended: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_lock(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr("fcntl.flock", no_lock)
        before = (ended / "attempts.json").read_bytes(), (ended / "status.json").read_bytes()
        first = RunWriter.resume(ended, 2)
        (ended / "attempts.json").write_bytes(before[0])  # as the other one has seen the folder
        (ended / "status.json").write_bytes(before[1])
        second = RunWriter.resume(ended, 2)
        assert first.status.attempt == second.status.attempt == 1
        give(first, 2, value=1)
        with pytest.raises(
            RunFolderError, match=pattern("recording.resumed_elsewhere_at", step=2, attempt=1)
        ):
            first.flush()
        give(second, 2, value=7)
        second.finish("finished")
        rows = RunFolder(ended).read("expert_loads").filter(step=2)
        assert set(rows["tokens"]) == {7}

    def test_one_waits_for_another_that_is_at_it(self, ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        right = opening.refuse_a_second_writer

        def look(path: Path, status: RunStatus) -> None:
            handle = os.open(path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(handle)
            seen.append(path)
            right(path, status)

        monkeypatch.setattr(opening, "refuse_a_second_writer", look)
        RunWriter.resume(ended, 2).finish("finished")
        assert seen == [ended]


class TestFileSystem:
    @pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
    def test_one_that_cannot_sync_folders_holds_a_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        self.refuse(monkeypatch, code, of_folders=True)
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0)
        assert steps_of(recorder.path) == [0]

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EISDIR])
    def test_one_that_cannot_open_folders_holds_a_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        def refused(path: object, *_: object, **__: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "open", refused)
        from explorer.files import sync_folder

        sync_folder(tmp_path)

    @pytest.mark.parametrize(("code", "of_folders"), [(errno.EIO, True), (errno.EINVAL, False)])
    def test_a_real_refusal_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, of_folders: bool
    ) -> None:
        self.refuse(monkeypatch, code, of_folders=of_folders)
        with pytest.raises(RunFolderError, match=pattern("errors.write_failed")):
            RunWriter.create(tmp_path, make_info())
        assert list(tmp_path.iterdir()) == []

    @staticmethod
    def refuse(monkeypatch: pytest.MonkeyPatch, code: int, *, of_folders: bool) -> None:
        fsync = os.fsync

        def refusing(handle: int) -> None:
            if Path(f"/proc/self/fd/{handle}").resolve().is_dir() == of_folders:
                raise OSError(code, os.strerror(code))
            fsync(handle)

        monkeypatch.setattr(os, "fsync", refusing)


def test_of_several_ranks_one_makes_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, rename = threading.Barrier(4), Path.rename

    def together(self: Path, target: Path) -> Path:
        gate.wait(30)
        return rename(self, target)

    def rank(_: int) -> str:
        try:
            make_folder(tmp_path, make_info())
        except RunFolderError as error:
            return str(error)
        return ""

    monkeypatch.setattr(Path, "rename", together)
    with ThreadPoolExecutor(4) as pool:
        messages = sorted(pool.map(rank, range(4)))
    assert messages[0] == ""
    assert len(set(messages[1:])) == 1
    assert messages[1].endswith(sentence("recording.rank_0_hint"))  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


FORKED = """
import os, sys, traceback
from pathlib import Path
from recording_runs import give, make_info
from explorer.recording import RunFolder
from explorer.recording.run_writer import RunWriter

runs, kind = Path(sys.argv[1]), sys.argv[2]
def child(action):
    pid = os.fork()
    if pid == 0:
        try:
            action()
            print("done", flush=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)

def record(name):
    with RunWriter.create(runs, make_info(name)) as recorder:
        give(recorder, 0, 1)

if kind == "clean":
    child(lambda: record("child"))
record("parent")
RunFolder(runs / "parent").read("steps")
if kind == "used":
    child(lambda: record("child"))
    child(lambda: RunWriter.resume(runs / "parent", 1))
    child(lambda: RunFolder(runs / "parent").read("steps"))
if kind == "beside":
    with RunWriter.create(runs, make_info("live")) as recorder:
        give(recorder, 0)
        recorder.flush()
        child(lambda: 1)
        child(lambda: give(recorder, 1))
        child(lambda: recorder.finish("failed"))
        child(lambda: recorder.__exit__(None, None, None))
        give(recorder, 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestFork:
    def run(self, tmp_path: Path, kind: str) -> list[str]:
        command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path), kind]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
        ) as process:
            try:
                output, _ = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its children wait for ever
                raise
        assert process.returncode == 0
        return output.splitlines()

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="nobody can tell which threads run")
    def test_a_child_of_a_process_without_the_pool_records(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "clean") == ["done"]
        assert steps_of(tmp_path / "child") == [0, 1]

    def test_a_child_in_which_it_would_hang_is_refused(self, tmp_path: Path) -> None:
        messages = self.run(tmp_path, "used")
        assert len(messages) == 3
        for message in messages:
            assert message.startswith("RunFolderError: process ")
            assert sentence("recording.start_with_spawn") in message
        assert [p.name for p in tmp_path.iterdir()] == ["parent"]
        assert RunFolder(tmp_path / "parent").attempts[-1].attempt == 0

    def test_children_beside_a_recorder_leave_its_run_alone(self, tmp_path: Path) -> None:
        messages = self.run(tmp_path, "beside")
        assert (messages[0], messages[3]) == ("done", "done")
        for message in messages[1:3]:
            assert sentence("recording.recorded_by_process", run="live") + " " in message
        status = RunFolder(tmp_path / "live").status
        assert (status.state, status.message, steps_of(tmp_path / "live")) == ("finished", "", [0, 1])

    def test_where_no_thread_can_be_listed_every_fork_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(forks_module, "TASKS", tmp_path / "missing")
        assert forks_module.pool_runs() is True


def test_data_loader_workers_are_forked_beside_a_recorder(recorder: RunWriter) -> None:
    """The usual loop: workers that never touch the recorder, in a process whose pool is at work."""
    give(recorder, 0)
    recorder.flush()
    batches = DataLoader(torch.arange(6), batch_size=2, num_workers=2, multiprocessing_context="fork")
    for step, _ in enumerate(batches, start=1):
        give(recorder, step)
    recorder.finish("finished")
    assert steps_of(recorder.path) == [0, 1, 2, 3]
