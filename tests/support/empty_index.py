"""New index files that are copies of an empty one: to make all tables takes longer than most tests do."""

import tempfile
from functools import cache
from pathlib import Path

import duckdb

from explorer.store import connection

made = connection._open_or_rebuild
"""Opens a file as the product does: one that is not there is made, table by table."""


@cache
def empty() -> bytes:
    """The file of an index without runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.duckdb"
        made(path).close()
        return path.read_bytes()


def copied(path: Path) -> duckdb.DuckDBPyConnection:
    """`made`, but a file that is not there begins as a copy of `empty`."""
    if not path.exists() and not Path(f"{path}.wal").exists():
        path.write_bytes(empty())
    return made(path)
