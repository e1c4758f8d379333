"""Marks on the time axis."""

import polars as pl

from explorer.queries._frames import Cursor, frame


def events(cur: Cursor, run_id: str) -> pl.DataFrame:
    """What happened in a run. Columns: step, layer, expert (NULL: not about one), kind, detail; by step."""
    return frame(
        cur,
        "SELECT step, layer, expert, kind, detail FROM events WHERE run_id = $run_id "
        "ORDER BY step, kind, layer, expert, detail",
        run_id=run_id,
    )
