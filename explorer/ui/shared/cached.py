"""The list of runs, asked anew every time: it is what tells whether the caches of `store` still hold."""

from collections.abc import Sequence
from typing import Any

from explorer.figures.arms import Run, run_from_row
from explorer.queries import runs as queries
from explorer.ui.server.services import services


def list_runs() -> list[Run]:
    """Every run, newest first."""
    return [run_from_row(row) for row in _rows()]


def run_rows(run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """All that the index knows of these runs, in this order."""
    rows = {row["run_id"]: row for row in _rows()}
    return [rows[run_id] for run_id in run_ids if run_id in rows]


def _rows() -> list[dict[str, Any]]:
    with services().index.cursor() as cur:
        return queries.list_runs(cur).to_dicts()
