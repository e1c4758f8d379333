"""The data behind a figure as CSV and Parquet."""

import io
import re

import polars as pl
import polars.selectors as cs

from explorer.errors import one_of
from explorer.export.provenance import run_ids
from explorer.export.settings import TABLES
from explorer.figures.panel import Panel


def table(panel: Panel, kind: str) -> bytes:
    """The bytes of a file: the panel's table, or else the rows that the figure draws.

    Raises ConfigError for an unknown format.
    """
    one_of("format", kind, TABLES)
    frame = rows(panel)
    out = io.BytesIO()
    if kind == "csv":
        harmless(flat(frame)).write_csv(out)
    else:
        # Files for other programs cannot hold columns without a type.
        frame.with_columns(cs.by_dtype(pl.Null).cast(pl.String)).write_parquet(out)
    return out.getvalue()


def rows(panel: Panel) -> pl.DataFrame:
    """The panel's table, or else the largest data set of the figure; rows of a single run name it."""
    if panel.table is not None:
        return _named(panel.table, run_ids([panel]))
    frames = [frame for name, frame in panel.spec.datasets.items() if name != panel.spec.playhead]
    largest = max(frames, key=lambda frame: frame.height, default=pl.DataFrame())
    return _named(largest, run_ids([panel]))


def _named(frame: pl.DataFrame, runs: list[str]) -> pl.DataFrame:
    """The frame with the run in its last column, unless it has one already or is of several runs."""
    if len(runs) != 1 or "run_id" in frame.columns or not frame.columns:
        return frame
    return frame.with_columns(run_id=pl.lit(runs[0]))


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists, arrays and structs as JSON, because a CSV only has scalar values."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(_as_json(frame[name]) for name in nested)


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Prefix text that looks like a formula with an apostrophe, so that a spreadsheet does not run it.

    Numeric columns, and text that is a number such as -0.5, stay unchanged.
    """
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    safe = frame.with_columns(_harmless(pl.col(name).cast(pl.String), name) for name in texts)
    return safe.rename({name: f"'{name}" for name in safe.columns if re.match(FORMULA, name)})


def _harmless(column: pl.Expr, name: str) -> pl.Expr:
    is_formula = column.str.contains(FORMULA) & ~column.str.contains(NUMBER)
    return pl.when(is_formula).then(pl.lit("'") + column).otherwise(column).alias(name)


FORMULA = r"^\s*[=+\-@\t\r]"
"""Start of a cell that a spreadsheet treats as a formula, even after leading spaces."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def _as_json(column: pl.Series) -> pl.Series:
    whole = pl.DataFrame({"v": column}).select(pl.struct("v").struct.json_encode()).to_series()
    # {"v":[1,2]} -> [1,2]
    text = whole.str.slice(5).str.head(-1)
    return text.set(column.is_null(), None).alias(column.name)
