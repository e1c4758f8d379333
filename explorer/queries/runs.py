"""The list of runs."""

import polars as pl

from explorer.queries._frames import Cursor, frame


def list_runs(cur: Cursor) -> pl.DataFrame:
    """Every run, newest first, including unreadable ones.

    Columns: those of the table `runs` (docs/schema.md; `config` and `versions` as JSON text) and `age_s`,
    seconds since the run's last sign of life.
    """
    return frame(
        cur,
        "SELECT *, greatest(epoch(now()) - heartbeat, 0) AS age_s FROM runs "
        "ORDER BY created_at DESC NULLS LAST, run_id",
    )
