"""Which runs there are and what they are."""

import json
from typing import Any

import polars as pl

from explorer.queries._frames import Cursor, first_row, frame


def list_runs(cur: Cursor) -> pl.DataFrame:
    """Every run, newest first, unreadable ones included.

    Columns: those of the table `runs` (docs/schema.md; `config` and `versions` as JSON text) and `age_s`,
    seconds since the run's last sign of life.
    """
    return frame(
        cur,
        "SELECT *, greatest(epoch(now()) - heartbeat, 0) AS age_s FROM runs "
        "ORDER BY created_at DESC NULLS LAST, run_id",
    )


def run_config(cur: Cursor, run_id: str) -> dict[str, Any]:
    """The whole configuration of a run, as `RunConfig.to_dict` gives it; empty for an unknown run."""
    found = first_row(cur, "SELECT config FROM runs WHERE run_id = $run_id", run_id=run_id)
    config: dict[str, Any] = json.loads(found[0]) if found and found[0] else {}
    return config
