"""What the query modules share: running SQL, binning samples, choosing the x axis."""

from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from explorer.errors import one_of

Cursor = duckdb.DuckDBPyConnection
AXES = {"step": "last_step", "tokens": "s.tokens_seen", "time": "s.wall_time_s"}


def frame(cur: Cursor, sql: str, **params: Any) -> pl.DataFrame:
    """Run one statement with bound parameters (`$name`)."""
    return cur.sql(sql, params=params).pl()


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


@dataclass(frozen=True, kw_only=True)
class Bins:
    """How the samples of a run become at most `max_bins` bins."""

    samples: int
    width: int
    """Samples a bin."""


def choose_bins(cur: Cursor, run_id: str, table: str, max_bins: int) -> Bins:
    """Bins for the samples of `table` (expert_loads or steps); an unknown run has none."""
    found = first_row(
        cur,
        "SELECT samples FROM progress WHERE run_id = $run_id AND table_name = $table_name",
        run_id=run_id,
        table_name=table,
    )
    samples = int(found[0]) if found else 0
    return Bins(samples=samples, width=max(1, -(-samples // max(1, max_bins))))
