"""Making a run folder, going on with one, and a disk that refuses."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recording_runs import E, L, give, make_info, steps_of
from sentences import pattern, sentence

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, RunInfo
from explorer.recording import writer as writer_module
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


class TestCreate:
    def test_an_existing_run_is_not_overwritten(self, recorder: RunWriter, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match=pattern("errors.exists_already")):
            RunWriter.create(tmp_path, make_info())
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    @pytest.mark.parametrize("below", [".", "deeper"])
    def test_a_file_where_a_folder_should_be(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(
            RunFolderError,
            match=pattern("recording.is_file")
            + "|"
            + pattern("recording.unwritable_because", why="Not a directory"),
        ):
            RunWriter.create(tmp_path / "file" / below, make_info())

    @pytest.mark.parametrize("call", ["replace", "rename"])
    def test_nothing_is_left_half_done(
        self, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, call, full)
        with pytest.raises(RunFolderError, match="No space left on device"):
            RunWriter.create(tmp_path, make_info())
        assert list(tmp_path.iterdir()) == []

    def test_others_may_read_it_as_the_umask_says(self, recorder: RunWriter) -> None:
        other = recorder.path.parent / "other"
        other.mkdir()
        assert recorder.path.stat().st_mode == other.stat().st_mode


def test_a_path_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    runs = tmp_path / os.fsdecode(b"r\xff")
    with pytest.raises(
        RunFolderError,
        match="udcff/run: "
        + pattern("recording.unicode_path")
        + ", .* "
        + pattern("recording.choose_another"),
    ):
        RunWriter.create(runs, make_info())
    assert list(tmp_path.iterdir()) == []


class TestDiskRefuses:
    def test_a_refused_flush_is_tried_again(
        self, recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, calls = Path.replace, []

        def full(self: Path, target: Path) -> Path:
            calls.append(target)
            if len(calls) == 2:  # the first table is there, the second is not
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(self, target)

        give(recorder, 0)
        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(RunFolderError, match=r"expert_loads-0-0-0.parquet.*No space left on device"):
            recorder.flush()
        assert steps_of(recorder.path) == steps_of(recorder.path, "expert_loads") == []
        give(recorder, 1)
        recorder.flush()
        assert steps_of(recorder.path) == [0, 1]
        assert len(steps_of(recorder.path, "expert_loads")) == 2 * L * E
        recorder.finish("finished")
        assert steps_of(recorder.path) == [0, 1]

    def test_a_refused_merge_doubles_no_row(
        self, recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, refused = Path.replace, []

        def full(self: Path, target: Path) -> Path:
            if target.name == "steps-0-0-2.parquet" and not refused:
                refused.append(target)
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(self, target)

        monkeypatch.setattr(writer_module, "MAX_PARTS", 2)
        monkeypatch.setattr(Path, "replace", full)
        for step in range(6):
            give(recorder, step)
            if step == 2:
                with pytest.raises(RunFolderError, match="No space left"):
                    recorder.flush()
            else:
                recorder.flush()
            assert steps_of(recorder.path) == list(range(step + 1))
        assert refused

    def test_a_part_that_cannot_be_deleted_does_not_count(
        self, recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def in_use(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(writer_module, "MAX_PARTS", 2)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", in_use)
            for step in range(6):
                give(recorder, step)
                recorder.flush()
                assert steps_of(recorder.path) == list(range(step + 1))
            recorder.finish("stopped")
        assert steps_of(recorder.path) == list(range(6))
        RunWriter.resume(recorder.path, 6).finish("finished")
        assert steps_of(recorder.path) == list(range(6))
        assert len(list(recorder.path.glob("*.parquet"))) == 2

    def test_a_refused_compaction_leaves_the_parts(
        self, recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace = Path.replace

        def full(self: Path, target: Path) -> Path:
            if "-g1" in target.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(self, target)

        give(recorder, 0)
        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(RunFolderError, match="No space left"):
            recorder.finish("finished")
        run = RunFolder(recorder.path)
        assert (run.status.state, run.generation, steps_of(run.path)) == ("finished", 0, [0])
        assert list(recorder.path.glob("*.tmp")) == []

    def test_an_error_keeps_its_place_when_finishing_fails_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        recorder = RunWriter.create(tmp_path, make_info())
        with pytest.raises(ZeroDivisionError) as caught, recorder:  # noqa: PT012
            monkeypatch.setattr(Path, "replace", full)
            raise ZeroDivisionError
        assert "No space left" in caught.value.__notes__[0]

    @pytest.mark.parametrize("has_error", [True, False])
    def test_rows_that_cannot_be_written_are_told_in_the_status(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_error: bool
    ) -> None:
        def broken(*_: object) -> None:
            raise ValueError("no frame")

        def train() -> None:
            with RunWriter.create(tmp_path, make_info()) as recorder:
                give(recorder, 0)
                recorder.flush()
                give(recorder, 1)
                monkeypatch.setattr(writer_module, "to_frame", broken)
                if has_error:
                    raise ZeroDivisionError("by zero")

        with pytest.raises(ZeroDivisionError if has_error else RunFolderError):
            train()
        status = RunFolder(tmp_path / "run").status
        assert (status.state, steps_of(tmp_path / "run")) == ("failed", [0])
        assert (
            sentence(
                "recording.rows_unwritable", table="steps", first=1, last=1, error="ValueError: no frame"
            )
            in status.message
        )
        assert ("by zero" in status.message) == has_error


class TestResume:
    @pytest.mark.parametrize("name", [".", "../run"])
    def test_from_inside_the_run(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0, 1)
        monkeypatch.chdir(recorder.path)
        assert RunFolder(name).info.run_id == RunFolder(name).run_id == "run"
        with RunWriter.resume(name, 2) as recorder:
            give(recorder, 2)
        assert steps_of(Path(name)) == [0, 1, 2]
        assert set(RunFolder(name).read("steps")["run_id"]) == {"run"}

    def test_later_rows_supersede_earlier_ones(self, recorder: RunWriter) -> None:
        give(recorder, 0, 1, 2, 3, value=1)
        recorder.flush()
        again = RunWriter.resume(recorder.path, 2)
        run = RunFolder(recorder.path)
        assert (steps_of(run.path), run.last_step) == ([0, 1], 1)
        assert run.parts("steps")[0].below == 2
        give(again, 2, value=7)
        again.flush()
        table = run.read("expert_loads").sort("step")
        assert table.select("step", "tokens").unique().sort("step").rows() == [(0, 1), (1, 1), (2, 7)]
        again.finish("finished")
        assert run.read("expert_loads").sort("step").equals(table.sort("step"))
        assert [(a.attempt, a.first_step) for a in run.attempts] == [(0, 0), (1, 2)]

    def test_a_compacted_run_goes_on(self, recorder: RunWriter) -> None:
        give(recorder, 0, 1, 2, value=1)
        recorder.finish("stopped")
        run = RunFolder(recorder.path)
        again = RunWriter.resume(recorder.path, 2)
        assert (steps_of(run.path), run.parts("steps")[0].below, run.generation) == ([0, 1], 2, 1)
        give(again, 2, 3, value=7)
        again.flush()
        assert steps_of(run.path) == [0, 1, 2, 3]
        again.finish("finished")
        assert (steps_of(run.path), run.generation) == ([0, 1, 2, 3], 2)
        assert {p.name for p in run.path.glob("*.parquet")} == {
            "steps-g2.parquet",
            "expert_loads-g2.parquet",
        }

    def test_resuming_from_the_start_drops_everything(self, recorder: RunWriter) -> None:
        give(recorder, 0, 1)
        recorder.finish("stopped")
        again = RunWriter.resume(recorder.path, 0)
        run = RunFolder(recorder.path)
        assert (steps_of(run.path), run.last_step) == ([], -1)
        again.finish("finished")
        assert steps_of(run.path) == []

    def test_steps_that_were_never_recorded_leave_an_event(self, recorder: RunWriter) -> None:
        give(recorder, 0)
        recorder.flush()
        again = RunWriter.resume(recorder.path, 3)
        again.finish("finished")
        events = RunFolder(recorder.path).read("events")
        assert events.select("step", "kind", "detail").rows() == [
            (3, "recording_gap", sentence("recording.trained_not_recorded", first=1, last=2))
        ]

    def test_what_a_killed_writer_left_is_cleaned_up(self, recorder: RunWriter) -> None:
        give(recorder, 0)
        recorder.flush()
        part = recorder.path / "steps-0-0-0.parquet"
        for name in ("steps-0-1-1.parquet", "steps-g1.parquet", "steps-0-2-2.parquet.tmp", "status.json.tmp"):
            (recorder.path / name).write_bytes(part.read_bytes())
        (recorder.path / "mine.txt").write_text("")
        assert steps_of(recorder.path) == [0]
        RunWriter.resume(recorder.path, 1)
        assert sorted(p.name for p in recorder.path.iterdir()) == [
            "attempts.json",
            "expert_loads-0-0-0.parquet",
            "mine.txt",
            "run.json",
            "status.json",
            "steps-0-0-0.parquet",
        ]

    @pytest.mark.parametrize("step", [-1, 1.5, True, "2"])
    def test_a_step_that_is_none_is_refused(self, recorder: RunWriter, step: int) -> None:
        with pytest.raises(RunFolderError, match="first_step"):
            RunWriter.resume(recorder.path, step)

    def test_a_run_that_another_process_writes_is_refused(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path\n"
            "from explorer.recording import RunInfo; from explorer.recording.run_writer import RunWriter\n"
            "info = RunInfo(run_id='run', name='', num_moe_layers=1, num_experts=1, top_k=1,"
            " tokens_per_step=1, num_steps=1)\n"
            "r = RunWriter.create(Path(sys.argv[1]), info); print('ready', flush=True); input()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert RunFolder(tmp_path / "run").status.state == "running"
            with pytest.raises(
                RunFolderError, match=pattern("recording.written_by_process", pid=process.pid)
            ):
                RunWriter.resume(tmp_path / "run", 0)
            process.kill()
        assert RunFolder(tmp_path / "run").status.state == "interrupted"
        RunWriter.resume(tmp_path / "run", 0).finish("finished")


def test_a_folder_name_with_pattern_characters_is_a_name_and_not_a_pattern(tmp_path):
    path = tmp_path / "runs [a-z] *?"
    info = RunInfo(
        run_id="run", name="run", num_moe_layers=1, num_experts=2, top_k=1, tokens_per_step=4, num_steps=3
    )
    with RunWriter.create(path, info) as recorder:
        for step in range(3):
            recorder.record(LoadRecord(step=step, tokens_LE=np.array([[3, 1]])))
            recorder.step_done(step)
            recorder.flush()
    assert RunFolder(path / "run").read("expert_loads")["tokens"].sum() == 12
