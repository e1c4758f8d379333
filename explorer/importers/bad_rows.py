"""The first row of a table that breaks a rule: sought only after an import has failed."""

from dataclasses import dataclass

import polars as pl
from polars.exceptions import PolarsError

from explorer.errors import ForeignFileError, shortened
from explorer.importers.arrays import LARGEST_COUNT
from explorer.importers.long_table import LARGEST_KEYS, Columns, number
from explorer.importers.table_files import TableFile
from explorer.recording.listing import is_fault_of_data

CHECK = "correct the row or leave it out"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What a column must hold."""

    text: str
    is_broken: pl.Expr
    remedy: str = CHECK


def row_problem(
    table: TableFile, columns: Columns, num_experts: int | None = None
) -> ForeignFileError | None:
    """The error that names the first bad row, its column and its value; None if no row breaks a rule.

    num_experts: expert ids must be below it; None: below the largest number of experts.
    """
    try:
        return _bad_value(table, columns, num_experts) or _ragged(table)
    except BaseException as error:
        if not isinstance(error, PolarsError | ForeignFileError) and not is_fault_of_data(error):
            raise
        return None


def _bad_value(table: TableFile, columns: Columns, num_experts: int | None) -> ForeignFileError | None:
    present = columns.present()
    scan = table.as_text()
    schema = scan.collect_schema()
    rules = {ours: _rule(ours, column, schema[column], num_experts) for ours, column in present.items()}
    is_blank = pl.all_horizontal(pl.col(column).is_null() for column in present.values())
    is_broken = pl.any_horizontal(rule.is_broken.fill_null(value=True) for rule in rules.values())
    flags = [rule.is_broken.fill_null(value=True).alias(f"broken {ours}") for ours, rule in rules.items()]
    rows = scan.filter(is_broken & ~is_blank).head(1)
    first = rows.select("row", *map(pl.col, dict.fromkeys(present.values())), *flags).collect()
    if first.is_empty():
        return None
    row = first.row(0, named=True)
    ours = next(name for name in rules if row[f"broken {name}"])
    column, value = present[ours], row[present[ours]]
    words = "is empty" if value is None else f"is {_printed(value)}"
    place = f"{table.place(row['row'])}, column {column}"
    return table.source.problem(place, f"{words}, but must be {rules[ours].text}", rules[ours].remedy)


def _printed(value: object) -> str:
    """A value on one line; in quotation marks where a space or a line break is part of it."""
    text = str(value)
    return shortened(text if text.isprintable() and " " not in text else repr(text))


def _rule(ours: str, column: str, dtype: pl.DataType, num_experts: int | None) -> _Rule:
    text, value = pl.col(column), number(column, dtype).cast(pl.Float64, strict=False)
    if ours == "expert" and num_experts is not None:
        return _Rule(
            text=f"below num_experts ({num_experts})",
            is_broken=~(value < num_experts),
            remedy="correct --option num_experts or the row",
        )
    if ours in LARGEST_KEYS:
        is_broken = ~(value.is_between(0, LARGEST_KEYS[ours]) & (value == value.floor()))
        return _Rule(text=f"a whole number from 0 to {LARGEST_KEYS[ours]}", is_broken=is_broken)
    if ours in ("tokens", "dropped"):
        is_broken = ~value.is_between(0, LARGEST_COUNT)
        if ours == "dropped":
            is_broken = is_broken & text.is_not_null()
        return _Rule(text="a number from 0 to 2^48", is_broken=is_broken)
    return _Rule(text="a number", is_broken=value.is_null() & text.is_not_null())


def _ragged(table: TableFile) -> ForeignFileError | None:
    if table.is_parquet:
        return None
    longer = table.longer_line()
    if longer is None:
        return None
    line, fields = longer
    rule = f"has {fields} fields, but the header names {table.width} columns"
    return table.source.problem(f"line {line:,}", rule, CHECK)
