"""The tables of `explorer/records/tables.py` as Polars types."""

import polars as pl

from explorer.records.tables import TABLES

_TYPES: dict[str, pl.DataType] = {
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "DOUBLE": pl.Float64(),
    "FLOAT": pl.Float32(),
    "VARCHAR": pl.String(),
    "FLOAT[]": pl.List(pl.Float32()),
    "INTEGER[]": pl.List(pl.Int32()),
}
SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    table: {column.name: _TYPES[column.sql_type] for column in columns} for table, columns in TABLES.items()
}
KEYS: dict[str, tuple[str, ...]] = {
    table: tuple(column.name for column in columns if column.key) for table, columns in TABLES.items()
}
REQUIRED: dict[str, frozenset[str]] = {
    table: frozenset(name for name in keys if name != "run_id")
    | ({"tokens", "selected_experts", "kind"} & SCHEMAS[table].keys())
    for table, keys in KEYS.items()
}
"""Columns present in every part and never NULL."""
HAS_UNIQUE_KEYS = frozenset(TABLES) - {"events"}
"""Tables with at most one row per key; a step may have several events."""


def sort_columns(table: str) -> list[str]:
    """(layer, expert, step), then the other keys: a chart of one expert reads one range."""
    columns = SCHEMAS[table]
    first = [name for name in ("layer", "expert", "step") if name in columns]
    return first + [name for name in KEYS[table] if name not in first and name != "run_id"]
