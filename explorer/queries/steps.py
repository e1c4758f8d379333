"""Single steps of a run."""

import polars as pl

from explorer.queries._frames import Cursor, first_row, frame


def nearest_step(cur: Cursor, run_id: str, step: int) -> int | None:
    """The last recorded step at or before `step`, else the first one; None for a run without steps.

    Steps of `steps` and of `expert_loads` both count.
    """
    exact = "SELECT step FROM steps WHERE run_id = $run_id AND step = $step LIMIT 1"
    nearest = """
        WITH recorded AS (
            SELECT step FROM steps WHERE run_id = $run_id
            UNION ALL SELECT step FROM layer_metrics WHERE run_id = $run_id
        )
        SELECT coalesce(max(step) FILTER (step <= $step), min(step)) FROM recorded
    """
    for sql in (exact, nearest):  # the first skips most of a long run
        row = first_row(cur, sql, run_id=run_id, step=step)
        if row is not None and row[0] is not None:
            return int(row[0])
    return None


def step_row(cur: Cursor, run_id: str, step: int) -> pl.DataFrame:
    """The row of the table `steps` (docs/schema.md) for exactly this step; empty when there is none."""
    return frame(cur, "SELECT * FROM steps WHERE run_id = $run_id AND step = $step", run_id=run_id, step=step)
