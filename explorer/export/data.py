"""The numbers behind a figure as CSV and Parquet."""

import io

import polars as pl
import polars.selectors as cs

from explorer.errors import one_of
from explorer.export.panel import Panel
from explorer.export.settings import TABLES


def table(panel: Panel, kind: str) -> bytes:
    """The bytes of a file. Without a table it holds the rows that the figure draws.

    Raises ConfigError for an unknown format.
    """
    one_of("format", kind, TABLES)
    frame = rows(panel)
    out = io.BytesIO()
    if kind == "csv":
        flat(frame).write_csv(out)
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


def _as_json(column: pl.Series) -> pl.Series:
    whole = pl.DataFrame({"v": column}).select(pl.struct("v").struct.json_encode()).to_series()
    # {"v":[1,2]} -> [1,2]
    text = whole.str.slice(5).str.head(-1)
    return text.set(column.is_null(), None).alias(column.name)
