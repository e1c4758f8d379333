"""A large run comes into the index in portions: its first steps can be seen before the last are there."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from store_runs import make_info, random_counts, record_steps

from explorer.recording.run_writer import RunWriter
from explorer.store import Index, ingest, loading, portions
from explorer.store.schema import data_tables

L, E, S = 3, 4, 2000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """2,000 steps in 20 parts, not compacted."""
    recorder = RunWriter.create(tmp_path / "runs", make_info(layers=L, experts=E))
    counts = random_counts(S, L, E)
    for start in range(0, S, 100):
        record_steps(recorder, counts[start : start + 100], range(start, start + 100))
        recorder.flush()
    recorder.finish("finished", compact=False)
    return tmp_path


def small_portions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(portions, "SMALL_BYTES", 0)
    patch.setattr(portions, "FIRST_ROWS", 100 * L * E)
    patch.setattr(portions, "NEXT_ROWS", 700 * L * E)


def content(path: Path, folder: Path) -> dict[str, list[Any]]:
    """Every table of an index; roll-ups as views merge them."""
    with Index.open(path) as index:
        index.ingest([folder / "runs"])
        with index.cursor() as cur:
            tables = {
                name: cur.execute(f"SELECT * EXCLUDE run_key FROM raw.{name}").fetchall()
                for name in data_tables()
                if name != "progress"
            }
            tables["runs"] = cur.execute("SELECT * EXCLUDE run_key FROM raw.runs").fetchall()
    return {name: sorted(rows, key=repr) for name, rows in tables.items()}


def test_portions_give_the_same_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(folder / "a.duckdb", folder)
    small_portions(monkeypatch)
    monkeypatch.setattr(loading, "SMALL_BYTES", 0)
    split = content(folder / "b.duckdb", folder)
    unlike = [name for name in whole if whole[name] != split[name]]
    assert [name for name in unlike if not name.endswith("_bins")] == []
    for name in unlike:  # the same samples, a bin perhaps in pieces
        assert sum(map(len, split[name])) >= sum(map(len, whole[name]))


def test_a_large_file_is_read_in_ranges_of_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(folder / "a.duckdb", folder)
    run = folder / "runs" / "run"
    for table in ("expert_loads", "steps"):
        parts = sorted(run.glob(f"{table}-*.parquet"), key=lambda path: int(path.stem.split("-")[2]))
        rows = pl.concat([pl.read_parquet(part) for part in parts])
        for part in parts:
            part.unlink()
        rows.write_parquet(run / f"{table}-0-0-{S - 1}.parquet", row_group_size=50 * L * E + 5)
    monkeypatch.setattr(loading, "SMALL_BYTES", 0)
    monkeypatch.setattr(loading, "CHUNK_ROWS", 200 * L * E)
    made: list[str] = []
    insert = loading._insert

    def watched(cur: Any, run_key: int, batch: loading.Batch) -> int:
        made.append(batch.condition)
        return insert(cur, run_key, batch)

    monkeypatch.setattr(loading, "_insert", watched)
    split = content(folder / "b.duckdb", folder)
    assert len([condition for condition in made if "step >" in condition]) >= S // 200
    assert not any("layer" in condition for condition in made)
    unlike = {name for name in whole if whole[name] != split[name]}
    assert {name for name in unlike if not name.endswith("_bins")} <= {"ingested_parts", "runs"}


def test_the_first_steps_are_seen_before_the_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_portions(monkeypatch)
    seen: list[tuple[Any, ...]] = []
    with Index.open(folder / "index.duckdb") as index:
        write = ingest._transaction

        def watched(*given: Any) -> tuple[int, int]:
            result = write(*given)
            with index.cursor() as cur:
                query = "SELECT last_step, (SELECT count(*) FROM expert_loads) FROM runs"
                seen.append(cur.execute(query).fetchone())  # type: ignore[arg-type]
            return result

        monkeypatch.setattr(ingest, "_transaction", watched)
        report = index.ingest([folder / "runs"])
        assert seen == [(step, (step + 1) * L * E) for step in (99, 799, 1499, 1999)]
        assert (report.changed, report.parts, report.problems) == (["run"], 40, {})
        assert report.rows == S * L * E + S
        assert index.ingest([folder / "runs"]).changed == []


def test_a_round_that_was_interrupted_is_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_portions(monkeypatch)
    write, calls = ingest._transaction, []

    def broken(*given: Any) -> tuple[int, int]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(*given)

    with Index.open(folder / "index.duckdb") as index:
        monkeypatch.setattr(ingest, "_transaction", broken)
        with pytest.raises(KeyboardInterrupt):
            index.ingest([folder / "runs"])
    with Index.open(folder / "index.duckdb") as index:
        report = index.ingest([folder / "runs"])
        assert report.rows == (S - 800) * (L * E + 1)
        with index.cursor() as cur:
            assert cur.execute("SELECT count(*), max(step) FROM expert_loads").fetchone() == (
                S * L * E,
                S - 1,
            )


def test_losses_of_a_long_part_are_in_the_first_portion(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder / "runs" / "run"
    parts = sorted(run.glob("steps-*.parquet"), key=lambda path: int(path.stem.split("-")[2]))
    rows = pl.concat([pl.read_parquet(part) for part in parts])
    for part in parts:
        part.unlink()
    rows.write_parquet(run / f"steps-0-0-{S - 1}.parquet")
    whole = content(folder / "a.duckdb", folder)
    small_portions(monkeypatch)
    seen: list[tuple[Any, ...]] = []
    with Index.open(folder / "b.duckdb") as index:
        write = ingest._transaction

        def watched(*given: Any) -> tuple[int, int]:
            result = write(*given)
            with index.cursor() as cur:
                query = "SELECT (SELECT max(step) FROM expert_loads), (SELECT max(step) FROM steps)"
                seen.append(cur.execute(query).fetchone())  # type: ignore[arg-type]
            return result

        monkeypatch.setattr(ingest, "_transaction", watched)
        index.ingest([folder / "runs"])
    assert seen[0] == (99, S - 1)
    split = content(folder / "b.duckdb", folder)
    assert [name for name in whole if whole[name] != split[name] and not name.endswith("_bins")] == []
