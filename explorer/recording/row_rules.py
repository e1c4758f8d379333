"""Checks of a part's rows on reading: types, NULL and signs.

The index applies further checks (`explorer/store/row_checks.py`), because it sees the whole run.
"""

import polars as pl

from explorer.recording.folder_schema import LARGEST_STEP
from explorer.recording.schema import REQUIRED, SCHEMAS


def wrong_type(table: str, rows: pl.LazyFrame) -> str | None:
    """Describe the first column of a file whose type would change values on reading, or None.

    An all-NULL column may have any type.
    """
    present = rows.collect_schema()
    for name, expected in SCHEMAS[table].items():
        stored = present.get(name)
        if stored is None or _holds_as_it_is(stored, expected):
            continue
        if rows.select(pl.col(name).count()).collect().item():
            return f"{name} is of type {stored}, which must be {expected}"
    return None


def wrong_value(table: str, frame: pl.DataFrame) -> str | None:
    """Describe the first column with an invalid value, or None."""
    for name in frame.columns:
        column = frame[name]
        if name in REQUIRED[table] and column.null_count():
            return f"{name} is NULL in {column.null_count()} of {len(column)} rows"
        if column.dtype.is_integer():
            low, high = column.min(), column.max()
            if isinstance(low, int) and low < 0:
                return f"{name} = {low}, which must be at least 0"
            if name == "step" and isinstance(high, int) and high > LARGEST_STEP:
                return f"{name} = {high}, which must be at most {LARGEST_STEP}"
    return None


def _holds_as_it_is(stored: pl.DataType, expected: pl.DataType) -> bool:
    if isinstance(stored, pl.Null):
        return True
    if isinstance(expected, pl.List):
        return isinstance(stored, pl.List) and _holds_as_it_is(_inner(stored), _inner(expected))
    if expected.is_integer():
        return stored.is_integer()
    if expected.is_numeric():
        return stored.is_numeric()
    return isinstance(stored, pl.String | pl.Categorical | pl.Enum)


def _inner(of: pl.List) -> pl.DataType:
    return of.inner if isinstance(of.inner, pl.DataType) else of.inner()
