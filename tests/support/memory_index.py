"""The tables of an index in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from explorer.store.schema import statements


@contextmanager
def empty_tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to all tables of an index, without rows."""
    with duckdb.connect() as connection:
        for statement in statements():
            connection.execute(statement)
        yield connection
