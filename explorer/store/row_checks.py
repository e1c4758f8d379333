"""Validate the rows of new parts before they are ingested: types, ranges, sizes, unique keys.

A part may come from other software, and DuckDB would round, wrap or duplicate invalid values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from explorer.errors import UnreadableRunError
from explorer.recording import Part
from explorer.recording.info import RUN_FILE
from explorer.recording.schema import HAS_UNIQUE_KEYS, KEYS, REQUIRED
from explorer.records.tables import TABLES, Column
from explorer.store.loading import Batch, describe, source

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
NUMBERS = (*INTEGERS, "FLOAT", "DOUBLE", "DECIMAL")
STORED_AS = {
    "BIGINT": INTEGERS,
    "INTEGER": INTEGERS,
    "DOUBLE": NUMBERS,
    "FLOAT": NUMBERS,
    "VARCHAR": ("VARCHAR", "ENUM"),
    "FLOAT[]": tuple(f"{name}[]" for name in NUMBERS),
    "INTEGER[]": tuple(f"{name}[]" for name in INTEGERS),
}
"""Type of a column -> the file types that convert to it without changing any value."""
LARGEST = {"BIGINT": 2**63 - 1, "INTEGER": 2**31 - 1}
SIZED = ("expert_loads", "layer_steps", "sequence_loads", "rank_loads", "eval_loads", "probe_scores")
"""Tables whose layers and experts must match run.json; an event may name any."""
MAX_BITS = 1024
"""Maximum number of experts for which unique keys are checked with bit masks."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes from run.json, with which rows must agree."""

    widths: Mapping[int, int]
    """The model's own number of every MoE layer -> its experts."""

    @classmethod
    def of_run(cls, row: Mapping[str, Any]) -> "Sizes":
        """From a row of the table `runs`."""
        layers = row["layers"] or range(row["num_moe_layers"])
        widths = row["experts_per_layer"] or [row["num_experts"]] * row["num_moe_layers"]
        return cls(widths=dict(zip(layers, widths, strict=True)))

    @property
    def experts(self) -> int:
        """Number of experts of the widest layer."""
        return max(self.widths.values(), default=0)

    @property
    def is_plain(self) -> bool:
        """Whether the layers are 0, 1, 2 … and equally wide, so that minimum and maximum suffice."""
        return list(self.widths) == list(range(len(self.widths))) and len(set(self.widths.values())) <= 1


def check_rows(
    cur: duckdb.DuckDBPyConnection,
    table: str,
    new_batches: Sequence[Batch],
    parts: Sequence[Part],
    sizes: Sizes,
) -> None:
    """Raise UnreadableRunError, naming file, column, value and rule, for the first row that violates one."""
    ranges = {str(part.path): part for part in parts}
    for batch in new_batches:
        types = _check_types(cur, batch)
        _check_ranges(cur, batch, set(types), ranges, sizes)
        _check_layout(cur, batch, set(types), sizes)
        if table == "probe_scores":
            _check_probe(cur, batch, sizes)
    if table in HAS_UNIQUE_KEYS:
        _check_keys(cur, table, new_batches, sizes)


def _check_types(cur: duckdb.DuckDBPyConnection, batch: Batch) -> dict[str, str]:
    """Column -> its type in the files, which must convert without changing values."""
    types = describe(cur, batch)
    for column in TABLES[batch.table][1:]:
        stored = types.get(column.name)
        if stored is None:
            if column.name in REQUIRED[batch.table]:
                raise _broken(
                    batch.files[0], f"lacks the column {column.name}; every part of {batch.table} needs it"
                )
        elif (
            stored.split("(")[0] + ("[]" if stored.endswith(")[]") else "") not in STORED_AS[column.sql_type]
        ):
            query = f"SELECT count({column.name}) FROM {source(batch)}"
            if _one(cur, query)[0]:  # an all-NULL column may have any type
                raise _broken(
                    _first_of_type(cur, batch, column.name, stored),
                    f"{column.name} is of type {stored}: must be {column.sql_type}",
                )
    return types


def _first_of_type(cur: duckdb.DuckDBPyConnection, batch: Batch, name: str, stored: str) -> str:
    """The file that brings a type into a batch; types of many files are merged to one that holds them all."""
    for file in batch.files:
        single = Batch(table=batch.table, files=(file,), condition="true")
        if describe(cur, single).get(name) == stored:
            return file
    return batch.files[0]


def _check_ranges(
    cur: duckdb.DuckDBPyConnection, batch: Batch, present: set[str], parts: dict[str, Part], sizes: Sizes
) -> None:
    columns = [c for c in TABLES[batch.table][1:] if c.name in present]
    whole = [c for c in columns if c.sql_type in LARGEST]
    required = [c for c in columns if c.name in REQUIRED[batch.table]]
    aggregates = [f"min({c.name}), max({c.name})" for c in whole]
    aggregates += [f"count({c.name})" for c in required]
    lower = {name.lower() for name in present}
    origin = next(name for name in map("file_{}".format, range(len(present) + 1)) if name not in lower)
    rows = cur.execute(
        f"SELECT {origin}, count(*), {', '.join(aggregates)} FROM {source(batch, origin)} GROUP BY {origin}"
    ).fetchall()
    for file, count, *values in rows:
        extremes = {c.name: values[2 * i : 2 * i + 2] for i, c in enumerate(whole)}
        filled = values[2 * len(whole) :]
        for column, number in zip(required, filled, strict=True):
            if number < count:
                step = _step_where(cur, batch, f"{column.name} IS NULL")
                raise _broken(file, f"{column.name} is NULL{step}: every row of {batch.table} needs it")
        for column in whole:
            low, high = _limits(column, batch.table, parts[file], sizes)
            for value in extremes[column.name]:
                if value is not None and not low <= value <= high:
                    step = (
                        "" if column.name == "step" else _step_where(cur, batch, f"{column.name} = {value}")
                    )
                    raise _broken(file, f"{column.name} = {value}{step}: must lie between {low} and {high}")
        if batch.table == "expert_loads":
            _check_sizes(file, extremes, sizes)


def _limits(column: Column, table: str, part: Part, sizes: Sizes) -> tuple[int, int]:
    """The least and the largest value that a column of a part may hold."""
    if column.name == "step":
        return part.first, part.last
    if table in SIZED and column.name == "layer":
        return min(sizes.widths, default=0), max(sizes.widths, default=-1)
    if table in SIZED and column.name == "expert":
        return 0, sizes.experts - 1
    return 0, LARGEST[column.sql_type]


def _check_sizes(file: str, extremes: dict[str, list[Any]], sizes: Sizes) -> None:
    """A step has a row per layer and expert, so no size in run.json can exceed that of a part."""
    for column, name, last in (
        ("layer", "num_moe_layers", max(sizes.widths, default=-1)),
        ("expert", "num_experts", sizes.experts - 1),
    ):
        largest = extremes[column][1]
        if largest is not None and largest != last:
            run_file = Path(file).parent / "run.json"
            size = len(sizes.widths) if column == "layer" else sizes.experts
            rule = f"must be {largest + 1}: {Path(file).name} holds {column}s 0 to {largest}"
            if not sizes.is_plain:
                rule = f"must agree with {Path(file).name}, whose last {column} is {largest}, not {last}"
            raise _broken(str(run_file), f"{name} = {size}: {rule}")


def _check_layout(cur: duckdb.DuckDBPyConnection, batch: Batch, present: set[str], sizes: Sizes) -> None:
    """If layers have explicit numbers or widths, every row must belong to one of them."""
    if sizes.is_plain or batch.table not in SIZED:
        return
    last = "max(expert)" if "expert" in present else "-1"
    rows = cur.execute(f"SELECT layer, {last} FROM {source(batch)} GROUP BY layer ORDER BY layer").fetchall()
    for layer, expert in rows:
        if layer not in sizes.widths:
            numbers = ", ".join(map(str, sizes.widths))
            raise _broken(batch.files[0], f"layer = {layer}: must be a layer of {RUN_FILE} ({numbers})")
        if expert >= sizes.widths[layer]:
            rule = f"must be below {sizes.widths[layer]}, the experts of layer {layer}"
            raise _broken(batch.files[0], f"expert = {expert} in layer {layer}: {rule}")


def _check_probe(cur: duckdb.DuckDBPyConnection, batch: Batch, sizes: Sizes) -> None:
    """Tokens of a layer have one logit per expert, and select among these."""
    row = cur.execute(
        f"SELECT step, layer, min(len(router_logits)), max(len(router_logits)), "
        f"min(list_min(selected_experts)), max(list_max(selected_experts)) FROM {source(batch)} "
        f"GROUP BY step, layer HAVING min(len(router_logits)) <> max(len(router_logits)) "
        f"OR max(len(router_logits)) NOT BETWEEN 1 AND {sizes.experts} "
        f"OR min(list_min(selected_experts)) < 0 "
        f"OR max(list_max(selected_experts)) >= coalesce(max(len(router_logits)), {sizes.experts}) "
        f"ORDER BY step, layer LIMIT 1"
    ).fetchone()
    if row:
        raise _broken(
            batch.files[0],
            f"step {row[0]}, layer {row[1]} has {row[2]} to {row[3]} logits per token and chooses experts "
            f"{row[4]} to {row[5]}: must have one logit per expert of the layer and choose among these",
        )


def _check_keys(
    cur: duckdb.DuckDBPyConnection, table: str, new_batches: Sequence[Batch], sizes: Sizes
) -> None:
    keys = [name for name in KEYS[table] if name != "run_id"]
    rows = " UNION ALL ".join(f"SELECT {', '.join(keys)} FROM {source(batch)}" for batch in new_batches)
    if "expert" in keys and sizes.experts <= MAX_BITS and not _have_twins(cur, rows, sizes):
        return
    row = cur.execute(
        f"SELECT {', '.join(keys)}, count(*) FROM ({rows}) GROUP BY ALL HAVING count(*) > 1 "
        f"ORDER BY ALL LIMIT 1"
    ).fetchone()
    if row:
        named = ", ".join(f"{name} {value}" for name, value in zip(keys, row[:-1], strict=True))
        folder = Path(new_batches[0].files[0]).parent
        raise UnreadableRunError(
            f"{folder}: {table} holds {row[-1]} rows of {named}: must hold one; add up what belongs together "
            f"before it is recorded, or restore the folder from a copy."
        )


def _have_twins(cur: duckdb.DuckDBPyConnection, rows: str, sizes: Sizes) -> bool:
    """Whether two rows share a key: they then set the same bit in their group's mask of experts. Nine times
    faster than grouping by the whole key, at 10^7 rows."""
    query = (
        f"SELECT * EXCLUDE expert FROM ({rows}) GROUP BY ALL "
        f"HAVING count(*) <> bit_count(bitstring_agg(expert, 0, {sizes.experts - 1})) LIMIT 1"
    )
    return cur.execute(query).fetchone() is not None


def _step_where(cur: duckdb.DuckDBPyConnection, batch: Batch, condition: str) -> str:
    row = cur.execute(f"SELECT step FROM {source(batch)} WHERE {condition} ORDER BY step LIMIT 1").fetchone()
    return f" at step {row[0]}" if row and row[0] is not None else ""


def _one(cur: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = cur.execute(query).fetchone()
    assert row is not None
    return row


def _broken(file: str, rule: str) -> UnreadableRunError:
    return UnreadableRunError(f"{file}: {rule}; restore it from a copy.")
