"""Update the index from the run folders: each run in one transaction, each part once."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from explorer.config.places import signature, table_signature
from explorer.errors import NotNowError, UnreadableRunError
from explorer.recording import Part, RunListing, check_file
from explorer.recording.listing import is_fault_of_data, printable, unexpected_problem
from explorer.records.tables import TABLES
from explorer.store.blame import blame
from explorer.store.cluster import cluster
from explorer.store.connection import is_fatal, is_interruption
from explorer.store.derive import derive
from explorer.store.diagnosis import discard_findings, store_findings
from explorer.store.episodes import update_episodes
from explorer.store.folders import find_runs, read_parts, run_row
from explorer.store.loading import OutOfOrder, batches, load
from explorer.store.portions import portions
from explorer.store.rollup import roll_up
from explorer.store.row_checks import Sizes, check_rows
from explorer.store.schema import RUNS, data_tables

OF_ANY_FOLDER = ("run_id", "path", "dir_kind", "state", "problem", "fingerprint")
"""Columns of `runs` whose values do not come from a document."""


class Stopped(Exception):
    """The round was stopped by another thread; the runs so far are complete."""


@dataclass(kw_only=True)
class IngestReport:
    """Summary of one ingest."""

    runs: int = 0
    """Number of run folders."""
    changed: list[str] = field(default_factory=list)
    """Run ids with new rows, a reload or a changed state."""
    removed: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Run id -> why it cannot be read."""
    notices: list[str] = field(default_factory=list)
    """Messages about rejected folders, such as a duplicate run id."""
    parts: int = 0
    rows: int = 0
    seconds: float = 0.0


class Ingestor:
    """Keeps one index up to date. Not safe from two threads at once: `Index.ingest` holds a lock."""

    def __init__(self) -> None:
        self._seen: dict[str, str] | None = None
        """Run id -> signature of its folder at ingest; None: ask the index."""
        self._refused: dict[str, str] = {}
        """Signature of a folder that broke the index itself -> reason; it is not read again."""

    def for_empty_index(self) -> "Ingestor":
        """An ingestor that reloads every run, except those that broke the index before."""
        other = Ingestor()
        other._refused = self._refused
        return other

    def ingest(
        self, cur: duckdb.DuckDBPyConnection, dirs: Iterable[Path], stopping: threading.Event
    ) -> IngestReport:
        """Check every run below `dirs` and ingest new data.

        Raises Stopped before the next run once `stopping` is set, and duckdb.Error on a damaged index.
        """
        begun = time.perf_counter()
        if self._seen is None:
            self._seen = dict(cur.execute("SELECT run_id, fingerprint FROM raw.runs").fetchall())
        runs = find_runs(dirs)
        report = IngestReport(runs=len(runs.runs), notices=list(runs.notices))
        for listing in runs.runs:
            if stopping.is_set():
                raise Stopped
            self._update(cur, listing, report, self._seen)
        self._remove_others(cur, {listing.run_id for listing in runs.runs}, report, self._seen)
        rows = cur.execute("SELECT run_id, problem FROM raw.runs WHERE problem IS NOT NULL").fetchall()
        report.problems = dict(rows)
        report.seconds = time.perf_counter() - begun
        return report

    def _update(
        self, cur: duckdb.DuckDBPyConnection, listing: RunListing, report: IngestReport, seen: dict[str, str]
    ) -> None:
        row = run_row(listing)
        files = (signature(listing.path), table_signature(listing.path))
        fingerprint = hashlib.sha256(repr((files, row)).encode()).hexdigest()
        if seen.get(listing.run_id) == fingerprint:
            return
        seen.pop(listing.run_id, None)
        row["fingerprint"] = fingerprint
        done = True
        if row["problem"] is None:
            try:
                done = self._take_parts(cur, listing, row, report)
            except NotNowError as error:  # the folder does not change when the cause is gone
                row |= {"problem": printable(str(error)), "state": "unreadable", "fingerprint": ""}
                done = False
            except UnreadableRunError as error:
                row |= {"problem": printable(str(error)), "state": "unreadable"}
            except BaseException as error:
                # An error in one run does not affect others; a full disk or a damaged index affects all.
                if isinstance(error, duckdb.Error) or is_interruption(error) or not is_fault_of_data(error):
                    raise
                row |= {
                    "problem": unexpected_problem(listing.path, error),
                    "state": "unreadable",
                    "fingerprint": "",
                }
                done = not isinstance(error, OSError | MemoryError)  # those may be temporary
        if row["problem"] is not None:
            self._store_problem(cur, row, report)
        if done:
            seen[listing.run_id] = fingerprint

    def _take_parts(
        self, cur: duckdb.DuckDBPyConnection, listing: RunListing, row: dict[str, Any], report: IngestReport
    ) -> bool:
        """Ingest new parts; False if the folder changed meanwhile and must be checked again."""
        if row["fingerprint"] in self._refused:
            raise UnreadableRunError(self._refused[row["fingerprint"]])
        seen = read_parts(listing.path)
        if seen is None:
            return False
        row["generation"], parts = seen
        try:
            for some, last_step in portions(cur, parts, set(_state_of(cur, row).parts)):
                # Without its `fingerprint` an unfinished row is continued in the next round.
                now = row if last_step is None else {**row, "last_step": last_step, "fingerprint": ""}
                rows, count = _transaction(cur, now, some, _state_of(cur, row), last_step is None)
                report.rows += rows
                report.parts += count
        except (duckdb.Error, FileNotFoundError) as error:
            if isinstance(error, duckdb.InterruptException):
                raise
            missing = [part.path for part in parts if not part.path.exists()]
            if missing and read_parts(listing.path) != seen:
                return False  # merged or compacted while we read
            if missing:
                raise UnreadableRunError(
                    f"{missing[0]} is missing although the manifest names it; restore it from a copy."
                ) from error
            reason = blame(listing.path, parts, error)
            if reason is None:
                raise  # e.g. a full disk or a damaged index: not caused by the run
            if is_fatal(error):
                self._refused[row["fingerprint"]] = str(reason)
                raise  # the index must be rebuilt, without this run
            raise reason from error
        report.changed.append(listing.run_id)
        return True

    def _store_problem(
        self, cur: duckdb.DuckDBPyConnection, row: dict[str, Any], report: IngestReport
    ) -> None:
        """Store the known fields of an unreadable run; of its documents only what fits the table."""
        try:
            _replace_by_problem(cur, row)
        except (duckdb.DataError, ValueError, TypeError, OverflowError):
            _replace_by_problem(cur, {name: row[name] for name in OF_ANY_FOLDER} | {"name": row["run_id"]})
        report.changed.append(row["run_id"])

    def _remove_others(
        self, cur: duckdb.DuckDBPyConnection, present: set[str], report: IngestReport, seen: dict[str, str]
    ) -> None:
        for (run_id,) in cur.execute("SELECT run_id FROM raw.runs").fetchall():
            if run_id not in present:
                cur.begin()
                key = _clear(cur, run_id)
                cur.execute("DELETE FROM raw.runs WHERE run_key = ?", [key])
                cur.commit()
                seen.pop(run_id, None)
                report.removed.append(run_id)


@dataclass(frozen=True, kw_only=True)
class _IndexState:
    """The state of a run in the index."""

    key: int | None
    same_run: bool
    """Path, creation time, pair key and generation agree. A rule change during training does not affect
    them, and ingested rows stay valid."""
    parts: dict[tuple[str, str], Part]
    """(table, file name) -> part."""

    def stale(self, listed: Sequence[Part]) -> bool:
        """Whether ingested rows are no longer valid, so that the run must be reloaded."""
        if not self.same_run:
            return True
        now = {(part.table, part.path.name): part for part in listed}
        for name, part in self.parts.items():
            if name in now:
                if now[name].below != part.below:
                    return True
            elif not any(
                p.table == part.table
                and p.attempt == part.attempt
                and p.below == part.below
                and p.first <= part.first
                and p.last >= part.last
                for p in listed
            ):
                return True
        return False


def _state_of(cur: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> _IndexState:
    row_of_run = cur.execute(
        "SELECT run_key, path, created_at, pair_key, generation, problem FROM raw.runs WHERE run_id = ?",
        [row["run_id"]],
    ).fetchone()
    if row_of_run is None:
        return _IndexState(key=None, same_run=False, parts={})
    expected = (row["path"], row["created_at"], row["pair_key"], row["generation"], None)
    parts = cur.execute(
        "SELECT table_name, part, attempt, first_step, last_step, below FROM raw.ingested_parts "
        "WHERE run_key = ?",
        [row_of_run[0]],
    ).fetchall()
    folder = Path(row["path"])
    return _IndexState(
        key=row_of_run[0],
        same_run=row_of_run[1:] == expected,
        parts={
            (t, name): Part(path=folder / name, table=t, attempt=a, first=f, last=last, below=b)
            for t, name, a, f, last, b in parts
        },
    )


def _transaction(
    cur: duckdb.DuckDBPyConnection,
    row: dict[str, Any],
    parts: Sequence[Part],
    state: _IndexState,
    is_last: bool,
) -> tuple[int, int]:
    """Write a run, or a portion of it, in one transaction; reload it if new parts do not simply continue the
    old ones. is_last: whether no portion follows.
    """
    reload = state.stale(parts)
    while True:
        cur.begin()
        try:
            written = _write(cur, row, parts, state, reload)
            if is_last:
                store_findings(cur, row)
            cur.commit()
        except BaseException as error:
            # After Ctrl-C its query may still run, and a rollback would wait for it.
            cur.interrupt()
            with contextlib.suppress(duckdb.Error):  # a fatal error leaves nothing to roll back
                cur.rollback()
            if reload or not isinstance(error, OutOfOrder):
                raise
            reload = True
        else:
            return written


def _write(
    cur: duckdb.DuckDBPyConnection,
    row: dict[str, Any],
    listed: Sequence[Part],
    state: _IndexState,
    reload: bool,
) -> tuple[int, int]:
    """Insert new parts and the run's row in the open transaction. Returns rows and parts."""
    key = _clear(cur, row["run_id"]) if reload else state.key
    assert key is not None
    done = {} if reload else state.parts
    new = [part for part in listed if (part.table, part.path.name) not in done]
    sizes = Sizes.of_run(row)
    for part in new:
        check_file(part.path)  # DuckDB reads the files itself, and would not notice a flipped bit
    start, start_losses = _samples(cur, key), _samples(cur, key, "steps")
    rows = 0
    for table in TABLES:
        mine = [part for part in new if part.table == table]
        if mine:
            old = [part for (name, _), part in done.items() if name == table]
            new_batches = batches(table, mine, old)
            check_rows(cur, table, new_batches, mine, sizes)
            rows += load(cur, key, table, new_batches)
    _put_row(cur, key, row)  # before the roll-ups, which read through the views
    discard_findings(cur, key)
    if new:
        samples = _samples(cur, key)
        derive(cur, key, start, samples)
        losses = (start_losses, _samples(cur, key, "steps"))
        update_episodes(cur, key, (start, samples), losses, {part.table for part in new})
        roll_up(cur, row["run_id"], key)
        cluster(cur, key, start)
        cur.executemany(
            "INSERT INTO raw.ingested_parts VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(key, p.table, p.path.name, p.attempt, p.first, p.last, p.below) for p in new],
        )
    return rows, len(new)


def _samples(cur: duckdb.DuckDBPyConnection, key: int, table: str = "expert_loads") -> int:
    row = cur.execute(
        "SELECT samples FROM raw.progress WHERE run_key = ? AND table_name = ?", [key, table]
    ).fetchone()
    return int(row[0]) if row else 0


def _clear(cur: duckdb.DuckDBPyConnection, run_id: str) -> int:
    """Delete every row of a run but keep its key, so that readers see either the old or the new rows."""
    row = cur.execute("SELECT run_key FROM raw.runs WHERE run_id = ?", [run_id]).fetchone()
    if row is None:
        row = cur.execute("SELECT coalesce(max(run_key), 0) + 1 FROM raw.runs").fetchone()
        assert row is not None
        return int(row[0])
    for table in data_tables():
        cur.execute(f"DELETE FROM raw.{table} WHERE run_key = ?", [row[0]])
    return int(row[0])


def _replace_by_problem(cur: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    """Replace every row of a run by this one, in one transaction."""
    cur.begin()
    try:
        _put_row(cur, _clear(cur, row["run_id"]), row)
        cur.commit()
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            cur.rollback()
        raise


def _put_row(cur: duckdb.DuckDBPyConnection, key: int, row: dict[str, Any]) -> None:
    cur.execute("DELETE FROM raw.runs WHERE run_key = ?", [key])
    values = [key, row["fingerprint"], *(row.get(c.name) for c in RUNS)]
    cur.execute(f"INSERT INTO raw.runs VALUES ({', '.join('?' for _ in values)})", values)
