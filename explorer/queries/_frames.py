"""What the query modules share: running SQL, binning samples, choosing the x axis."""

from typing import Any

import duckdb
import polars as pl

from explorer.errors import one_of
from explorer.store.pyramids import LEVELS, Pyramid

Cursor = duckdb.DuckDBPyConnection
AXES = {"step": "last_step", "tokens": "s.tokens_seen", "time": "s.wall_time_s"}


def frame(cur: Cursor, sql: str, **params: Any) -> pl.DataFrame:
    """Run one statement with bound parameters (`$name`).

    In duckdb 1.5 `sql(..., params=...)` makes rows of its own first, which takes three times as long;
    a later version that lacks `execute(...).pl()` needs a change here only.
    """
    return cur.execute(sql, params).pl()


def first_row(cur: Cursor, sql: str, **params: Any) -> tuple[Any, ...] | None:
    """The first row of a statement, or None."""
    found: tuple[Any, ...] | None = cur.execute(sql, params).fetchone()
    return found


def axis(x: str) -> str:
    """SQL of the x column: the value at the end of a bin, from the latest row of `steps` by then (`s`)."""
    one_of("x", x, AXES)
    return AXES[x]


# Joined to a table of bins `b`: what `steps` knew at the end of a bin.
AT_END = """
ASOF LEFT JOIN (SELECT step, tokens_seen, wall_time_s FROM steps WHERE run_id = $run_id) s
ON b.last_step >= s.step
"""


def choose_bins(
    cur: Cursor, run_id: str, pyramid: Pyramid, max_bins: int, read: int | None = None
) -> dict[str, Any]:
    """Parameters of `pyramid.binned()` that give at most `max_bins` bins of equally many samples.

    It takes the finest level with at most `read` bins (None: four times `max_bins`) and merges
    neighbours, so what a view reads does not depend on the length of the run. An unknown run has no bins.
    """
    found = first_row(
        cur,
        "SELECT samples, rolled FROM progress WHERE run_id = $run_id AND table_name = $table_name",
        run_id=run_id,
        table_name=pyramid.counted,
    )
    samples, rolled = found or (0, 0)
    most = 4 * max_bins if read is None else read
    level = 0
    while level < LEVELS and rolled and -(-samples // 4**level) > most:
        level += 1
    factor = max(1, -(-samples // (4**level * max(1, max_bins))))
    return {
        "run_id": run_id,
        "level": level,
        "rolled": rolled if level else 0,
        "factor": factor,
        "width": factor * 4**level,
    }
