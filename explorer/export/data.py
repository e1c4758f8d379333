"""The numbers behind a figure as CSV and Parquet."""

import io
import re

import polars as pl
import polars.selectors as cs

from explorer.errors import one_of
from explorer.export.settings import TABLES
from explorer.figures.panel import Panel


def table(panel: Panel, kind: str) -> bytes:
    """The bytes of a file. Without a table it holds the rows that the figure draws.

    Raises ConfigError for an unknown format.
    """
    one_of("format", kind, TABLES)
    frame = rows(panel)
    out = io.BytesIO()
    if kind == "csv":
        harmless(flat(frame)).write_csv(out)
    else:
        # A file of another program cannot hold what has no type at all.
        frame.with_columns(cs.by_dtype(pl.Null).cast(pl.String)).write_parquet(out)
    return out.getvalue()


def rows(panel: Panel) -> pl.DataFrame:
    """The panel's table; where it has none, the largest data set of the figure."""
    if panel.table is not None:
        return panel.table
    frames = [frame for name, frame in panel.spec.datasets.items() if name != panel.spec.playhead]
    return max(frames, key=lambda frame: frame.height, default=pl.DataFrame())


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists, arrays and structs as JSON, because a CSV has only values."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(_as_json(frame[name]) for name in nested)


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """CSV for a spreadsheet, where texts that begin like a formula get an apostrophe so that they do not run.

    Columns of numbers stay as they are, and so does a text that is a number, such as -0.5.
    """
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    safe = frame.with_columns(_harmless(pl.col(name).cast(pl.String), name) for name in texts)
    return safe.rename({name: f"'{name}" for name in safe.columns if re.match(FORMULA, name)})


def _harmless(column: pl.Expr, name: str) -> pl.Expr:
    is_formula = column.str.contains(FORMULA) & ~column.str.contains(NUMBER)
    return pl.when(is_formula).then(pl.lit("'") + column).otherwise(column).alias(name)


FORMULA = r"^\s*[=+\-@\t\r]"
"""How a cell begins that a spreadsheet takes for a formula; space in front does not stop it."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def _as_json(column: pl.Series) -> pl.Series:
    whole = pl.DataFrame({"v": column}).select(pl.struct("v").struct.json_encode()).to_series()
    # {"v":[1,2]} -> [1,2]
    text = whole.str.slice(5).str.head(-1)
    return text.set(column.is_null(), None).alias(column.name)
