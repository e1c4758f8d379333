"""Reading: damaged, foreign and newer folders; which parts count; nothing is ever written."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from recording_runs import E, L, give, make_info, steps_of
from sentences import pattern, sentence

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.recording import RunFolder, atomic_write_json, files, list_runs, read_json
from explorer.recording import reader as reader_module
from explorer.recording.parts import parse_part, without_contained
from explorer.recording.run_writer import RunWriter


class PanicException(BaseException):
    """As Polars raises it: no Exception, and known by its name."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Steps 0 to 4 in two parts a table, of a writer that goes on."""
    recorder = RunWriter.create(tmp_path, make_info())
    give(recorder, 0, 1, 2)
    recorder.flush()
    give(recorder, 3, 4)
    recorder.flush()
    return RunFolder(recorder.path)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestInfo:
    def test_a_missing_file(self, run: RunFolder) -> None:
        (run.path / "run.json").unlink()
        with pytest.raises(UnreadableRunError, match=r"run\.json " + pattern("reading.missing")):
            _ = run.info

    @pytest.mark.parametrize("length", [0, 10, 100])
    def test_a_truncated_file(self, run: RunFolder, length: int) -> None:
        path = run.path / "run.json"
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(
            UnreadableRunError, match=r"run\.json is " + pattern("errors.damaged_or_cut_short")
        ):
            _ = run.info

    @pytest.mark.parametrize("content", [b"[]", b"3", b"\xff\xfe"])
    def test_something_else(self, run: RunFolder, content: bytes) -> None:
        (run.path / "run.json").write_bytes(content)
        with pytest.raises(UnreadableRunError, match=r"run\.json"):
            _ = run.info

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_a_byte_order_mark(self, run: RunFolder, encoding: str) -> None:
        path = run.path / "run.json"
        path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
        assert run.info.name == "a run"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("[" * 200_000, sentence("errors.nested_deeper_than", levels=64)),
            ('{"config": ' + "[" * 70 + "]" * 70 + "}", sentence("errors.nested_deeper_than", levels=64)),
            ('{"name": "\\ud800"}', sentence("errors.damaged_or_cut_short")),
            ('{"seed": 1e999}', sentence("errors.damaged_or_cut_short")),
            ('{"seed": NaN}', sentence("errors.damaged_or_cut_short")),
        ],
    )
    def test_json_that_other_readers_could_not_bear(self, run: RunFolder, content: str, reason: str) -> None:
        (run.path / "run.json").write_text(content)
        with pytest.raises(UnreadableRunError, match=reason):
            _ = run.info

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    @pytest.mark.parametrize("name", ["run.json", "status.json", "manifest.json", "attempts.json"])
    def test_a_named_pipe_is_not_waited_for(self, run: RunFolder, name: str) -> None:
        (run.path / name).unlink(missing_ok=True)
        os.mkfifo(run.path / name)
        if name == "status.json":
            assert run.status.state == "interrupted"
            return
        with pytest.raises(UnreadableRunError, match=pattern("reading.not_regular_file")):
            _ = (run.info, run.parts("steps"))

    def test_a_document_of_any_size_is_not_read(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 100)
        with pytest.raises(UnreadableRunError, match=pattern("reading.larger_than", bytes=100)):
            _ = run.info

    def test_a_newer_format(self, run: RunFolder) -> None:
        edit(run.path / "run.json", format_version=2)
        with pytest.raises(UnreadableRunError, match="format_version = 2.*" + pattern("reading.upgrade")):
            _ = run.info

    def test_another_folder_name(self, run: RunFolder) -> None:
        copy = RunFolder(shutil.copytree(run.path, run.path.parent / "copy"))
        with pytest.raises(
            UnreadableRunError, match='run_id = "run": ' + pattern("reading.folder_name") + ".s name"
        ) as copied:
            _ = copy.info
        assert sentence("reading.folder_beside", run="run") in str(copied.value)
        assert "rename the folder" not in str(copied.value), "that name is taken"
        edit(copy.path / "run.json", run_id="copy")
        assert RunFolder(copy.path).info.run_id == "copy", "the remedy that the sentence names"

    def test_a_renamed_folder(self, run: RunFolder) -> None:
        renamed = RunFolder(run.path.rename(run.path.parent / "ru n"))
        with pytest.raises(UnreadableRunError, match=pattern("reading.rename_back", run="run")):
            _ = renamed.info

    def test_missing_and_unknown_fields(self, run: RunFolder) -> None:
        edit(run.path / "run.json", invented_later=1)
        assert run.info.name == "a run"
        data = json.loads((run.path / "run.json").read_text())
        del data["top_k"]
        (run.path / "run.json").write_text(json.dumps(data))
        with pytest.raises(UnreadableRunError, match=pattern("reading.lacks", field="top_k")):
            _ = RunFolder(run.path).info

    def test_a_size_that_is_no_number(self, run: RunFolder) -> None:
        edit(run.path / "run.json", num_experts="many")
        with pytest.raises(
            UnreadableRunError, match='num_experts = "many": ' + pattern("errors.whole_number_from") + " 0"
        ):
            _ = run.info


class TestRows:
    def test_columns_can_be_chosen(self, run: RunFolder) -> None:
        table = run.read("expert_loads", ["tokens", "layer"])
        assert table.columns == ["tokens", "layer"]
        assert table.height == 5 * L * E
        with pytest.raises(
            RunFolderError, match="columns = 'loads'.*" + pattern("reading.columns", columns="run_id, step")
        ):
            run.read("expert_loads", ["loads"])
        with pytest.raises(RunFolderError, match="table = 'load'"):
            run.read("load")

    def test_an_empty_table_has_its_columns(self, run: RunFolder) -> None:
        table = run.read("probe_scores")
        assert table.is_empty()
        assert table.schema["router_logits"] == pl.List(pl.Float32)

    @pytest.mark.parametrize("length", [0, 3, 200])
    def test_a_damaged_part_is_named(self, run: RunFolder, length: int) -> None:
        part = run.path / "expert_loads-0-3-4.parquet"
        part.write_bytes(part.read_bytes()[:length])
        with pytest.raises(
            UnreadableRunError, match=r"expert_loads-0-3-4\.parquet " + pattern("errors.damaged")
        ):
            run.read("expert_loads")
        assert steps_of(run.path) == [0, 1, 2, 3, 4]

    def test_unknown_columns_are_left_out_and_missing_ones_are_null(self, run: RunFolder) -> None:
        part = run.path / "steps-0-3-4.parquet"
        pl.read_parquet(part).drop("lm_loss").with_columns(new=pl.lit(1)).write_parquet(part)
        table = run.read("steps").sort("step")
        assert "new" not in table.columns
        assert table["lm_loss"].to_list() == [1.0, 1.0, 1.0, None, None]
        assert run.read("steps", ["lm_loss"])["lm_loss"].to_list() == [1.0, 1.0, 1.0, None, None]

    def test_a_missing_key_column_is_damage(self, run: RunFolder) -> None:
        part = run.path / "steps-0-3-4.parquet"
        pl.read_parquet(part).drop("step").write_parquet(part)
        with pytest.raises(
            UnreadableRunError,
            match=r"steps-0-3-4\.parquet " + pattern("errors.damaged") + r" \(lacks .*step",
        ):
            run.read("steps", ["lm_loss"])

    def test_temporary_and_foreign_files_do_not_count(self, run: RunFolder) -> None:
        whole = (run.path / "steps-0-3-4.parquet").read_bytes()
        for name in (
            "steps-0-5-6.parquet.tmp",
            "steps-g1.parquet",
            "steps.parquet",
            "stranger-0-0-9.parquet",
            "steps-0-5.parquet",
            "steps-1-0-4.parquet",
        ):
            (run.path / name).write_bytes(whole)
        assert steps_of(run.path) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        "name",
        ["steps-0-9-3", "steps-0-5-9007199254740992", "steps-9999999999-5-6", "steps-0-5-" + "9" * 200],
    )
    def test_a_part_that_no_writer_can_have_named(self, run: RunFolder, name: str) -> None:
        (run.path / f"{name}.parquet").write_bytes((run.path / "steps-0-3-4.parquet").read_bytes())
        (run.path / "status.json").unlink()
        with pytest.raises(UnreadableRunError, match=pattern("reading.part_name", table="steps")):
            run.read("expert_loads")

    def test_a_part_below_the_start_of_its_attempt(self, run: RunFolder) -> None:
        RunWriter.resume(run.path, 3)
        (run.path / "status.json").unlink()
        (run.path / "steps-1-2-2.parquet").write_bytes((run.path / "steps-0-0-2.parquet").read_bytes())
        with pytest.raises(UnreadableRunError, match=pattern("reading.first_at_least", step=3)):
            run.read("steps")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_table_must_be_a_file(self, run: RunFolder) -> None:
        os.mkfifo(run.path / "steps-0-5-6.parquet")
        with pytest.raises(
            UnreadableRunError, match=r"steps-0-5-6\.parquet is " + pattern("reading.not_regular_file")
        ):
            run.read("steps")

    @pytest.mark.parametrize(
        "files",
        [
            {"steps": ["../other/steps-g1.parquet"]},
            {"steps": ["steps-g1.parquet", "steps-g1.parquet"]},
            {"steps": ["steps\x00-g1.parquet"]},
            {"steps": None},
            [],
        ],
    )
    def test_a_manifest_names_files_of_the_folder(self, run: RunFolder, files: Any) -> None:
        RunWriter.resume(run.path, 5).finish("finished")
        edit(run.path / "manifest.json", files=files)
        with pytest.raises(UnreadableRunError, match=r"manifest\.json: files"):
            run.read("steps")

    def test_what_is_not_committed_does_not_count(self, run: RunFolder) -> None:
        edit(run.path / "status.json", committed_step=2, last_step=2)
        assert steps_of(run.path) == [0, 1, 2]
        (run.path / "status.json").write_text("{")
        assert steps_of(run.path) == [0, 1, 2, 3, 4]
        assert run.last_step == 4

    def test_a_file_that_vanishes_is_looked_for_again(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, calls = reader_module.read_part, []

        def vanish_once(part: Any, columns: Any) -> pl.DataFrame:
            calls.append(part.path.name)
            if len(calls) == 2:
                raise FileNotFoundError(part.path.name)
            return read(part, columns)

        monkeypatch.setattr(reader_module, "read_part", vanish_once)
        assert steps_of(run.path) == [0, 1, 2, 3, 4]
        assert len(calls) == 4

    def test_a_listing_that_misses_a_merge_is_not_believed(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names, calls = RunFolder._names, []

        def miss_the_merged_file(self: RunFolder) -> frozenset[str]:
            calls.append(1)
            return frozenset() if len(calls) == 1 else names(self)

        monkeypatch.setattr(RunFolder, "_names", miss_the_merged_file)
        assert steps_of(run.path) == [0, 1, 2, 3, 4]

    def test_a_file_of_the_manifest_that_is_gone_is_named(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader_module, "PAUSE_S", 0.0)
        RunWriter.resume(run.path, 5).finish("finished")
        (run.path / "steps-g1.parquet").unlink()
        with pytest.raises(
            UnreadableRunError, match="steps " + pattern("reading.missing") + r" \(steps-g1\.parquet\)"
        ):
            run.read("steps")

    @pytest.mark.parametrize("name", ["manifest.json", "attempts.json"])
    @pytest.mark.parametrize("content", ["{", "{}", "[3]", '[{"attempt": "x"}]', '{"generation": 1}'])
    def test_damaged_bookkeeping_is_named(self, run: RunFolder, name: str, content: str) -> None:
        (run.path / name).write_text(content)
        with pytest.raises(UnreadableRunError, match=name):
            run.read("steps")

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableRunError, match=pattern("reading.not_listed")):
            RunFolder(tmp_path / "nothing").read("steps")

    def test_reading_writes_nothing(self, run: RunFolder) -> None:
        def look() -> dict[str, tuple[int, int]]:
            paths = [run.path, *run.path.iterdir()]
            return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in paths}

        before = look()
        for table in ("steps", "expert_loads", "probe_scores"):
            run.read(table)
        _ = (run.info, run.status, run.last_step, run.generation, run.attempts, list_runs(run.path.parent))
        assert look() == before


def test_contained_parts_are_dropped() -> None:
    names = ["0-0-9", "0-0-4", "0-5-9", "0-5-5", "0-10-12", "0-12-12", "1-3-4", "1-5-5"]
    parts = [part for n in names if (part := parse_part(Path(f"steps-{n}.parquet")))]
    kept = [part.path.stem for part in without_contained(reversed(parts))]
    assert kept == ["steps-0-0-9", "steps-0-10-12", "steps-1-3-4", "steps-1-5-5"]


class TestListing:
    def test_newest_first_and_damaged_ones_with_the_reason(self, tmp_path: Path) -> None:
        for day, name in enumerate(("old", "new", "damaged"), start=1):
            RunWriter.create(tmp_path, make_info(name))
            edit(tmp_path / name / "run.json", created_at=f"2026-01-0{day}T00:00:00+00:00")
        (tmp_path / "damaged" / "run.json").write_text("{")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / "notes.txt").write_text("")
        listings = list_runs(tmp_path, tmp_path / "missing")
        assert [listing.run_id for listing in listings] == ["damaged", "new", "old"]
        assert listings[0].info is None
        assert sentence("errors.damaged_or_cut_short") in (listings[0].problem or "")
        assert listings[1].info is not None
        assert listings[1].status is not None
        assert listings[1].problem is None

    def test_of_two_runs_with_one_id_the_first_counts(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            RunWriter.create(tmp_path / folder, make_info())
        listings = {
            listing.path.parent.name: listing for listing in list_runs(tmp_path / "a", tmp_path / "b")
        }
        assert listings["a"].problem is None
        assert sentence("reading.also_in", run="run", folder=tmp_path / "a") in (listings["b"].problem or "")

    def test_a_strange_date_does_not_hide_the_others(self, tmp_path: Path) -> None:
        for name in ("x", "y"):
            RunWriter.create(tmp_path, make_info(name))
        edit(tmp_path / "x" / "run.json", created_at=3)
        assert {listing.run_id for listing in list_runs(tmp_path)} == {"x", "y"}

    def test_runs_that_are_grouped_in_a_folder(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c", "d"):
            RunWriter.create(tmp_path / "sub" / "sweep", make_info(name))
        [listing] = list_runs(tmp_path)
        assert listing.run_id == "sub"
        assert sentence("reading.add_runs", folder=tmp_path / "sub" / "sweep") in (listing.problem or "")
        assert sentence("reading.holds_runs", runs="a, b, c", more=1) in (listing.problem or "")
        assert "delete" not in (listing.problem or "")
        assert len(list_runs(tmp_path / "sub" / "sweep")) == 4

    def test_other_folders_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "plots" / "old").mkdir(parents=True)
        (tmp_path / "plots" / "loss.png").write_bytes(b"")
        assert list_runs(tmp_path) == []

    @pytest.mark.parametrize("name", ["status.json", "steps-0-0-4.parquet"])
    def test_a_run_without_its_description_is_damaged(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / name).write_bytes(b"")
        [listing] = list_runs(tmp_path)
        assert f"{tmp_path / 'r' / 'run.json'} " + sentence("reading.missing") in (listing.problem or "")
        assert "delete" not in (listing.problem or "")

    @pytest.mark.parametrize(
        "error", [PermissionError(13, "Permission denied"), PanicException("out of range"), MemoryError()]
    )
    def test_whatever_one_run_raises_the_others_are_listed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        for name in ("bad", "good"):
            RunWriter.create(tmp_path, make_info(name))
        read = RunFolder.status.fget
        assert read is not None

        def fail_once(run: RunFolder) -> Any:
            if run.run_id == "bad":
                raise error
            return read(run)

        monkeypatch.setattr(RunFolder, "status", property(fail_once))
        problems = {listing.run_id: listing.problem for listing in list_runs(tmp_path)}
        assert problems["good"] is None
        assert f"{tmp_path / 'bad'} " + sentence("errors.read_failed") + " (" in (problems["bad"] or "")

    def test_an_interruption_is_not_the_fault_of_a_run(
        self, run: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: RunFolder) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(RunFolder, "status", property(interrupt))
        with pytest.raises(KeyboardInterrupt):
            list_runs(run.path.parent)

    def test_a_name_that_is_not_unicode(self, tmp_path: Path) -> None:
        RunWriter.create(tmp_path, make_info())
        (tmp_path / "run").rename(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
        [listing] = list_runs(tmp_path)
        listing.run_id.encode()
        (listing.problem or "").encode()


class TestJson:
    def test_it_reads_back(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        atomic_write_json(path, {"a": [1, 2.5, None, "é"], "nan": float("inf")})
        assert read_json(path) == {"a": [1, 2.5, None, "é"], "nan": None}
        assert list(tmp_path.iterdir()) == [path]

    def test_the_old_content_stays_when_the_new_one_cannot_be_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        atomic_write_json(path, 1)
        with pytest.raises(RunFolderError, match="object " + pattern("errors.not_json")):
            atomic_write_json(path, object())
        assert read_json(path) == 1

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(
            RunFolderError, match=pattern("recording.unwritable_because", why="Not a directory")
        ):
            atomic_write_json(tmp_path / "file" / "a.json", 1)
        with pytest.raises(UnreadableRunError, match=pattern("errors.read_failed")):
            read_json(tmp_path)
