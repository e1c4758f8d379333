"""What all readers of one committed state of the index share: the keys of the runs, and some rows about them.

A view of the index joins the rows of a table with the list of runs, and planning that join takes longer than
reading most results. A statement about one run of a known key reads the table itself instead.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import duckdb

from explorer.store.schema import data_tables

R = TypeVar("R")
_TABLE = re.compile(rf"\b(FROM|JOIN)\s+({'|'.join(data_tables())})\b")
_RUN = {"run_id": "$run_id", "run_ids": "($run_ids::VARCHAR[])[1]"}
"""Parameter of a statement about one run -> SQL of its id."""


class Snapshot:
    """One committed state of the index. Of no use to a cursor that sees another state."""

    def __init__(self) -> None:
        self._keys: dict[str, int] | None = None
        self._rows: dict[Hashable, Any] = {}

    def key(self, cur: duckdb.DuckDBPyConnection, run_id: str) -> int | None:
        """The number of a run in the tables of the schema `raw`; None for an unknown run."""
        if self._keys is None:
            self._keys = dict(cur.execute("SELECT run_id, run_key FROM raw.runs").fetchall())
        return self._keys.get(run_id)

    def remembered(self, key: Hashable, read: Callable[[], R]) -> R:
        """The result of `read`, which must depend on the key and the state alone; read once."""
        if key not in self._rows:
            self._rows[key] = read()
        result: R = self._rows[key]
        return result


_SNAPSHOTS: dict[duckdb.DuckDBPyConnection, Snapshot] = {}
"""Of the open cursors that see a state shared with others."""


def attach(cur: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Let the statements of an open cursor use what is known of the state that it sees."""
    _SNAPSHOTS[cur] = snapshot


def detach(cur: duckdb.DuckDBPyConnection) -> None:
    """Forget a cursor; one without a snapshot is ignored."""
    _SNAPSHOTS.pop(cur, None)


def remembered(cur: duckdb.DuckDBPyConnection, key: Hashable, read: Callable[[], R]) -> R:
    """`Snapshot.remembered` of a cursor's state; without one it is read each time."""
    snapshot = _SNAPSHOTS.get(cur)
    return read() if snapshot is None else snapshot.remembered(key, read)


def direct(cur: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, Any]) -> str:
    """The same statement on the rows of its only run (parameter `run_id`, or `run_ids` with one element).

    Such a statement must not depend on rows of other runs, except for those of the table `runs`. It is
    returned as it is where it is about several runs, or the run is unknown.
    """
    snapshot = _SNAPSHOTS.get(cur)
    if snapshot is None:
        return sql
    if "run_id" in params:
        name, run_id = "run_id", params["run_id"]
    elif len(params.get("run_ids") or ()) == 1:
        name, run_id = "run_ids", params["run_ids"][0]
    else:
        return sql
    key = snapshot.key(cur, run_id)
    return sql if key is None else _on_rows(sql, _RUN[name], key)


@lru_cache(maxsize=1024)
def _on_rows(sql: str, run_id: str, key: int) -> str:
    rows = rf"(SELECT {run_id} AS run_id, * EXCLUDE (run_key) FROM raw.\2 WHERE run_key = {key})"
    return _TABLE.sub(rf"\1 {rows}", sql)
