"""Which statements a query runs."""

import duckdb

from explorer.queries import statements as statement_log
from explorer.queries._frames import first_row, frame


def test_statements_are_noted_only_while_somebody_listens() -> None:
    with duckdb.connect() as con:
        frame(con, "SELECT 1 AS a")
        with statement_log.listening() as statements:
            frame(con, "SELECT $n AS a", n=2)
            first_row(con, "SELECT 3")
        frame(con, "SELECT 4 AS a")
    assert [(s.sql, dict(s.params)) for s in statements] == [("SELECT $n AS a", {"n": 2}), ("SELECT 3", {})]
