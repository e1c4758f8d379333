"""A run that is damaged or refused, or fails while it is read, gets its reason; the others are taken in."""

import json
import os
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from indexed import counts_of, damage, loads_in, loads_on_disk, problem_of, rewrite
from sentences import sentence
from store_runs import write_run

from explorer.errors import NotNowError, StoreError
from explorer.recording import Part
from explorer.store import Index, ingest
from explorer.store.blame import blame


class PanicException(BaseException):
    """As Polars raises it: no Exception, and known by its name."""


def fail_for(run_id: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the roll-ups of one run raise, after its rows were inserted."""
    real = ingest.roll_up

    def fail(cur: Any, current: str, key: int) -> None:
        if current == run_id:
            raise error
        real(cur, current, key)

    monkeypatch.setattr(ingest, "roll_up", fail)


def test_a_damaged_part_makes_only_its_run_unreadable(index: Index, runs: Path) -> None:
    write_run(runs, "bad", finish=False)
    write_run(runs, "good", finish=False)
    damage(runs / "bad" / "expert_loads-0-10-19.parquet")
    report = index.ingest([runs])
    assert list(report.problems) == ["bad"]
    assert "expert_loads-0-10-19.parquet " + sentence("errors.damaged") in report.problems["bad"]
    assert "restore it" in report.problems["bad"]
    assert loads_in(index, "bad") == []
    assert len(loads_in(index, "good")) == 320
    with index.cursor() as cur:
        state, name = cur.execute("SELECT state, name FROM runs WHERE run_id = 'bad'").fetchone()
    assert (state, name) == ("unreadable", "bad")


def test_a_run_that_is_damaged_later_loses_its_rows_and_comes_back_when_mended(
    index: Index, runs: Path
) -> None:
    write_run(runs, finish=False)
    index.ingest([runs])
    info = (runs / "run" / "run.json").read_text()
    (runs / "run" / "run.json").write_text(info[:50])
    assert "run.json" in index.ingest([runs]).problems["run"]
    assert set(counts_of(index).values()) == {0}
    (runs / "run" / "run.json").write_text(info)
    assert index.ingest([runs]).problems == {}
    assert loads_in(index) == loads_on_disk(runs / "run")


def test_a_newer_format_is_listed_with_the_reason(index: Index, runs: Path) -> None:
    write_run(runs)
    path = runs / "run" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    index.ingest([runs])
    assert "upgrade" in (problem_of(index, "run") or "")


def test_a_file_that_the_manifest_names_but_is_missing_is_a_problem(index: Index, runs: Path) -> None:
    write_run(runs)
    (runs / "run" / "expert_loads-g1.parquet").unlink()
    index.ingest([runs])
    assert "missing" in (problem_of(index, "run") or "")


def test_a_part_without_a_key_column_is_a_problem(index: Index, runs: Path) -> None:
    write_run(runs)
    rewrite(runs / "run" / "expert_loads-g1.parquet", lambda f: f.drop("expert"))
    index.ingest([runs])
    assert sentence("store.lacks_column", column="expert") in (problem_of(index, "run") or "")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unforeseen"),
        PanicException("out of range"),
        RecursionError("too deep"),
        MemoryError(),
        OverflowError("int too big to convert"),
        duckdb.ConversionException("Conversion Error: out of range"),
        duckdb.OutOfMemoryException("Out of Memory Error: 4 GB"),
    ],
)
def test_whatever_one_run_raises_the_others_are_taken_in(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for name in ("a", "bad", "z"):
        write_run(runs, name, steps=10)
    with Index.open(tmp_path / "index.duckdb") as index:
        with monkeypatch.context() as broken:
            fail_for("bad", error, broken)
            report = index.ingest([runs])
        assert list(report.problems) == ["bad"]
        assert str(runs / "bad") in report.problems["bad"]
        assert loads_in(index, "bad") == []
        assert loads_in(index, "a") == loads_on_disk(runs / "a")
        assert loads_in(index, "z") == loads_on_disk(runs / "z")
        (runs / "bad" / "status.json").touch()
        assert index.ingest([runs]).problems == {}, "tried again when the folder has changed"
        assert loads_in(index, "bad") == loads_on_disk(runs / "bad")


def test_a_run_that_failed_for_a_reason_of_the_moment_is_tried_again(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(runs, finish=False)
    for error, in_this_process in ((OSError(24, "Too many open files"), True), (RuntimeError("odd"), False)):
        path = tmp_path / f"{type(error).__name__}.duckdb"
        with Index.open(path) as index:
            with monkeypatch.context() as broken:
                fail_for("run", error, broken)
                assert list(index.ingest([runs]).problems) == ["run"]
                assert set(counts_of(index).values()) == {0}
            assert (index.ingest([runs]).problems == {}) is in_this_process
        with Index.open(path) as index:
            assert index.ingest([runs]).problems == {}
            assert loads_in(index) == loads_on_disk(runs / "run")


@pytest.mark.parametrize(
    ("refused", "reader"),
    [
        ("expert_loads-g1.parquet", "explorer.recording.checksums._digest_bytes"),
        ("manifest.json", "explorer.recording.files._read_regular"),
    ],
)
def test_a_file_that_cannot_be_read_for_a_while_is_read_when_it_can(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch, refused: str, reader: str
) -> None:
    """Nothing of the folder changes when a disk or a permission is mended."""
    write_run(runs)
    right = pkgutil.resolve_name(reader)

    def refuse(path: Path, *rest: Any) -> Any:
        if path.name == refused:
            raise PermissionError(13, "Permission denied")
        return right(path, *rest)

    with monkeypatch.context() as broken:
        broken.setattr(reader, refuse)
        problem = index.ingest([runs]).problems["run"]
    path = runs / "run" / refused
    assert problem == f"{path} " + sentence("reading.unreadable_check", why="Permission denied")
    assert index.ingest([runs]).problems == {}
    assert loads_in(index) == loads_on_disk(runs / "run")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that no one can read")
def test_what_the_system_refuses_to_read_is_not_called_damaged(tmp_path: Path) -> None:
    """The first byte of a process's memory is no data, so reading it is an input/output error."""
    part = Part(path=tmp_path / "steps-0-0-1.parquet", table="steps", attempt=0, first=0, last=1)
    part.path.symlink_to("/proc/self/mem")
    refused = blame(tmp_path, [part], duckdb.IOException("IO Error: Could not read"))
    assert isinstance(refused, NotNowError)
    assert str(refused) == f"{part.path} " + sentence("reading.unreadable_check", why="Input/output error")
    part.path.unlink()
    part.path.write_bytes(b"PAR1")
    damaged = blame(tmp_path, [part], duckdb.IOException("IO Error: Could not read"))
    assert not isinstance(damaged, NotNowError)
    assert f"{part.path} " + sentence("errors.damaged") + " (" in str(damaged)


@pytest.mark.parametrize("parent", ["runs", os.fsdecode(b"r\xff")])
def test_a_folder_whose_name_is_not_unicode_keeps_no_other_run_out(
    index: Index, tmp_path: Path, parent: str
) -> None:
    write_run(tmp_path / "good", "good")
    write_run(tmp_path / "runs", "run")
    runs = (tmp_path / "runs").rename(tmp_path / parent)
    shutil.copytree(runs / "run", runs / os.fsdecode(b"bad\xff"))
    report = index.ingest([runs, tmp_path / "good"])
    assert loads_in(index, "good") == loads_on_disk(tmp_path / "good" / "good")
    assert "bad\\udcff" in report.problems
    assert loads_in(index, "run") == ([] if "run" in report.problems else loads_on_disk(runs / "run"))
    assert all("\\udcff" in problem for problem in report.problems.values())


def test_a_description_that_the_table_cannot_hold_leaves_its_reason(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(runs)
    write_run(runs, "good")
    right = ingest.run_row

    def too_large(listing: Any) -> dict[str, Any]:
        return right(listing) | ({"top_k": 2**40} if listing.run_id == "run" else {})

    monkeypatch.setattr(ingest, "run_row", too_large)
    report = index.ingest([runs])
    assert list(report.problems) == ["run"]
    assert sentence("store.too_large") in report.problems["run"]
    assert loads_in(index, "good") == loads_on_disk(runs / "good")


def test_a_folder_named_like_a_pattern_takes_no_rows_of_another(index: Index, tmp_path: Path) -> None:
    for name in ("a1", "a*", "a?", "a[1]"):
        write_run(tmp_path / name, finish=False, seed=len(name))
    for name in ("a*", "a?", "a[1]"):
        assert index.ingest([tmp_path / name]).problems == {}
        assert loads_in(index) == loads_on_disk(tmp_path / name / "run")


def test_counts_that_add_up_to_more_than_a_number_holds_are_the_runs_problem(
    index: Index, runs: Path
) -> None:
    write_run(runs)
    write_run(runs, "good")
    path = runs / "run" / "expert_loads-g1.parquet"
    pl.read_parquet(path).with_columns(tokens=pl.lit(2**61)).write_parquet(path)
    report = index.ingest([runs])
    assert list(report.problems) == ["run"]
    assert report.problems["run"].startswith(f"{runs / 'run'}: " + sentence("store.rows_too_large") + " ")
    assert loads_in(index, "good") == loads_on_disk(runs / "good")


def test_an_interruption_ends_the_round_and_blames_no_run(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(runs, finish=False)
    query = RuntimeError("Query interrupted")  # as DuckDB says it
    query.__cause__ = KeyboardInterrupt()
    for error in (query, KeyboardInterrupt()):
        with monkeypatch.context() as broken:
            fail_for("run", error, broken)
            with pytest.raises(KeyboardInterrupt):
                index.ingest([runs])
        assert set(counts_of(index).values()) == {0}
    assert index.ingest([runs]).problems == {}
    assert loads_in(index) == loads_on_disk(runs / "run")


def test_a_part_that_duckdb_calls_corrupt_is_no_damage_of_the_index(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(runs, "good", steps=10)
    index.ingest([runs])
    before = index.path.stat().st_ino
    write_run(runs, "bad", steps=10)
    damage(runs / "bad" / "expert_loads-g1.parquet")
    fail_for(
        "bad", duckdb.Error("Parquet file is likely corrupted, dictionary offset out of range"), monkeypatch
    )
    monkeypatch.setattr(ingest, "check_rows", lambda *_: None)
    monkeypatch.setattr(ingest, "load", lambda *_: 0)
    assert "expert_loads-g1.parquet " + sentence("errors.damaged") in index.ingest([runs]).problems["bad"]
    assert index.path.stat().st_ino == before


def test_a_run_that_breaks_the_index_is_left_out_when_it_is_rebuilt(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "bad", "z"):
        write_run(runs, name, steps=10)
    damage(runs / "bad" / "expert_loads-g1.parquet")
    real = ingest.check_rows

    def fail(cur: Any, table: str, new_batches: Any, parts: Any, sizes: Any) -> None:
        if parts[0].path.parent.name == "bad":
            raise duckdb.FatalException("FATAL Error: database has been invalidated")
        real(cur, table, new_batches, parts, sizes)

    monkeypatch.setattr(ingest, "check_rows", fail)
    assert list(index.ingest([runs]).problems) == ["bad"]
    assert "expert_loads-g1.parquet " + sentence("errors.damaged") in (problem_of(index, "bad") or "")
    for name in ("a", "z"):
        assert loads_in(index, name) == loads_on_disk(runs / name)


def test_a_value_of_the_wrong_type_is_the_runs_problem(index: Index, runs: Path) -> None:
    write_run(runs)
    path = runs / "run" / "expert_loads-g1.parquet"
    rewrite(path, lambda f: f.with_columns(tokens=pl.lit("many")))
    index.ingest([runs])
    assert "expert_loads-g1.parquet: tokens " + sentence("store.type_of", kind="VARCHAR", right="BIGINT") in (
        problem_of(index, "run") or ""
    )


def test_a_full_disk_is_not_blamed_on_the_run(
    index: Index, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(runs)

    def full(*_: Any) -> None:
        raise duckdb.IOException("IO Error: No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(ingest, "derive", full)
        with pytest.raises(StoreError, match="No space left"):
            index.ingest([runs])
    assert index.ingest([runs]).problems == {}
    assert len(loads_in(index)) == 320
