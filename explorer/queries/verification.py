"""The index's own metrics of a run, for comparison with independently computed ones."""

import polars as pl

from explorer.queries._frames import Cursor, frame


def layer_metrics(cur: Cursor, run_id: str) -> pl.DataFrame:
    """Every metric of every recorded step and layer, as in the table `layer_metrics`; by step and layer."""
    sql = "SELECT * EXCLUDE (run_id) FROM layer_metrics WHERE run_id = $run_id ORDER BY step, layer"
    return frame(cur, sql, run_id=run_id)


def layer_summary(cur: Cursor, run_id: str) -> pl.DataFrame:
    """The final metrics of every layer, as in the table `layer_summary`; by layer."""
    sql = "SELECT * EXCLUDE (run_id) FROM layer_summary WHERE run_id = $run_id ORDER BY layer"
    return frame(cur, sql, run_id=run_id)
