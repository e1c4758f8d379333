"""From Parquet parts to rows of the index, for one run inside one transaction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import duckdb

from explorer.recording import Part
from explorer.records.tables import TABLES, Column
from explorer.store.schema import WITH_ORDINAL

CHUNK_ROWS = 4_500_000
"""Rows sorted and inserted at once: few enough for memory, enough for a layer to fill whole row groups, and a
little more than a flush of the recorder writes."""
SMALL_BYTES = 1_000_000
"""Below this total size files are not counted: they hold far fewer rows than CHUNK_ROWS."""
ORDER = ("layer", "split", "domain", "micro_batch", "sequence", "step", "token", "expert")
"""Sort order of a table. A view reads one layer, or one step of it: both are then contiguous."""


class OutOfOrder(Exception):
    """A part holds steps before ones that are already numbered: the run must be reloaded."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """New parts of one table whose rows are filtered by the same condition."""

    table: str
    files: tuple[str, ...]
    condition: str


def batches(table: str, parts: Sequence[Part], ingested: Sequence[Part]) -> list[Batch]:
    """Group the new parts of a table by the filter condition on their rows.

    `ingested` are earlier parts of the table: a merged part repeats their rows.
    """
    groups: dict[str, list[str]] = {}
    for part in parts:
        conditions = [] if part.below is None else [f"step < {part.below}"]
        conditions += [
            f"step NOT BETWEEN {old.first} AND {old.last}"
            for old in ingested
            if old.attempt == part.attempt and old.first <= part.last and old.last >= part.first
        ]
        groups.setdefault(" AND ".join(conditions) or "true", []).append(str(part.path))
    return [Batch(table=table, files=tuple(files), condition=c) for c, files in groups.items()]


def load(cur: duckdb.DuckDBPyConnection, run_key: int, table: str, new_batches: Sequence[Batch]) -> int:
    """Insert the rows of new parts; number their steps if the table has ordinals. Returns the number of rows.

    The rows must have passed `row_checks.check_rows`. Raises `OutOfOrder` if a step precedes one that already
    has a number, and `duckdb.Error` or `FileNotFoundError` when a part cannot be read.
    """
    new_batches = [small for batch in new_batches for small in _split(cur, batch)]
    if table in WITH_ORDINAL and not _number(cur, run_key, table, new_batches):
        return 0
    rows = 0
    for batch in new_batches:
        rows += _insert(cur, run_key, batch)
    return rows


def _insert(cur: duckdb.DuckDBPyConnection, run_key: int, batch: Batch) -> int:
    columns = TABLES[batch.table][1:]
    present = set(describe(cur, batch))
    values = [f"{run_key} AS run_key", *(_value(c, present) for c in columns)]
    names = ["run_key", *(c.name for c in columns)]
    joined = ""
    if batch.table in WITH_ORDINAL:
        values.append("n.ordinal")
        names.append("ordinal")
        joined = "JOIN new_steps n ON n.step = s.step"
    keys = {c.name for c in columns}
    order = ", ".join(f"s.{name}" for name in ORDER if name in keys & present)
    row = cur.execute(
        f"INSERT INTO raw.{batch.table} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM {source(batch)} s {joined} ORDER BY {order}"
    ).fetchone()
    return int(row[0]) if row else 0


def _number(cur: duckdb.DuckDBPyConnection, run_key: int, table: str, new_batches: Sequence[Batch]) -> bool:
    """Assign ordinals to the new steps in a temporary table; False if there are none."""
    steps = " UNION ".join(f"SELECT DISTINCT step FROM {source(b)}" for b in new_batches)
    before = cur.execute(
        "SELECT samples, last_step FROM raw.progress WHERE run_key = ? AND table_name = ?", [run_key, table]
    ).fetchone()
    samples, last = before if before else (0, -1)
    cur.execute(
        f"CREATE OR REPLACE TEMP TABLE new_steps AS SELECT step::BIGINT AS step, "
        f"({samples} + row_number() OVER (ORDER BY step) - 1)::INTEGER AS ordinal FROM ({steps})"
    )
    row = cur.execute("SELECT count(*), min(step), max(step) FROM new_steps").fetchone()
    if row is None or not row[0]:
        return False
    if row[1] <= last:
        raise OutOfOrder
    if before:
        cur.execute(
            "UPDATE raw.progress SET samples = ?, last_step = ? WHERE run_key = ? AND table_name = ?",
            [samples + row[0], row[2], run_key, table],
        )
    else:
        cur.execute(
            "INSERT INTO raw.progress (run_key, table_name, samples, rolled, clustered, last_step) "
            "VALUES (?, ?, ?, 0, ?, ?)",
            [run_key, table, row[0], row[0], row[2]],
        )
    return True


def _split(cur: duckdb.DuckDBPyConnection, batch: Batch) -> list[Batch]:
    """Split a large batch: small files into groups, one large file by steps or by layers."""
    if sum(Path(file).stat().st_size for file in batch.files) < SMALL_BYTES:
        return [batch]
    counts = dict(
        cur.execute(
            f"SELECT file_name, num_rows FROM parquet_file_metadata({_files(batch.files)})"
        ).fetchall()
    )
    result: list[Batch] = []
    group: list[str] = []
    rows = 0
    for file in batch.files:
        size = counts.get(file, 0)
        if group and rows + size > CHUNK_ROWS:
            result.append(replace(batch, files=tuple(group)))
            group, rows = [], 0
        group.append(file)
        rows += size
    result.append(replace(batch, files=tuple(group)))
    return [part for small in result for part in _split_file(cur, small, counts)]


def _split_file(cur: duckdb.DuckDBPyConnection, batch: Batch, counts: dict[str, int]) -> list[Batch]:
    if len(batch.files) > 1 or counts.get(batch.files[0], 0) <= CHUNK_ROWS:
        return [batch]
    return _by_steps(cur, batch) or _by_layer(cur, batch)


def _by_steps(cur: duckdb.DuckDBPyConnection, batch: Batch) -> list[Batch]:
    """Ranges of steps of a file in their order, as merged parts are: each reads its own row groups only.

    Empty if the file is sorted otherwise.
    """
    groups = cur.execute(
        "SELECT row_group_num_rows, stats_min_value::BIGINT, stats_max_value::BIGINT "
        f"FROM parquet_metadata({_files(batch.files)}) WHERE path_in_schema = 'step' ORDER BY row_group_id"
    ).fetchall()
    if any(first is None or last is None for _, first, last in groups):
        return []
    if any(later[1] < earlier[2] for earlier, later in pairwise(groups)):
        return []
    ends: list[int] = []
    rows = 0
    for (size, _, last), (following, _, _) in pairwise(groups):
        rows += size
        if rows + following > CHUNK_ROWS:
            ends.append(last)
            rows = 0
    ranges = zip([None, *ends], [*ends, None], strict=True)
    return [replace(batch, condition=f"{batch.condition}{_within(*span)}") for span in ranges]


def _within(after: int | None, last: int | None) -> str:
    return ("" if after is None else f" AND step > {after}") + (
        "" if last is None else f" AND step <= {last}"
    )


def _by_layer(cur: duckdb.DuckDBPyConnection, batch: Batch) -> list[Batch]:
    if "layer" not in describe(cur, batch):
        return [batch]
    layers = cur.execute(f"SELECT DISTINCT layer FROM {source(batch)} ORDER BY 1").fetchall()
    return [replace(batch, condition=f"{batch.condition} AND layer = {int(layer)}") for (layer,) in layers]


def source(batch: Batch, file_column: str | None = None) -> str:
    """SQL for the rows of a batch; `file_column` names a column with the file that a row is from."""
    options = "union_by_name = true" + (f", filename = '{file_column}'" if file_column else "")
    return f"(SELECT * FROM read_parquet({_files(batch.files)}, {options}) WHERE {batch.condition})"


def describe(cur: duckdb.DuckDBPyConnection, batch: Batch) -> dict[str, str]:
    """Columns of the files -> their DuckDB types."""
    query = f"DESCRIBE SELECT * FROM read_parquet({_files(batch.files)}, union_by_name = true)"
    return {row[0]: row[1] for row in cur.execute(query).fetchall()}


def _value(column: Column, present: set[str]) -> str:
    if column.name not in present:
        return f"NULL::{column.sql_type} AS {column.name}"
    return f"s.{column.name}::{column.sql_type} AS {column.name}"


def literal(file: str) -> str:
    """A path escaped for DuckDB, which treats `*`, `?` and `[` as a pattern.

    >>> literal("runs/a*/steps-g1.parquet")
    'runs/a[*]/steps-g1.parquet'
    """
    return re.sub(r"[*?[]", r"[\g<0>]", file)


def _files(files: Sequence[str]) -> str:
    return "[" + ", ".join("'" + literal(file).replace("'", "''") + "'" for file in files) + "]"
