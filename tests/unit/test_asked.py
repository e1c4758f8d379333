"""Answers that know the statements they came from."""

import duckdb
import polars as pl

from explorer.queries import statements as asked
from explorer.queries._frames import first_row, frame


def test_statements_are_noted_only_while_somebody_listens() -> None:
    with duckdb.connect() as con:
        frame(con, "SELECT 1 AS a")
        with asked.listening() as statements:
            frame(con, "SELECT $n AS a", n=2)
            first_row(con, "SELECT 3")
        frame(con, "SELECT 4 AS a")
    assert [(s.sql, dict(s.params)) for s in statements] == [("SELECT $n AS a", {"n": 2}), ("SELECT 3", {})]


def test_marks_are_joined_without_repeats_and_in_order() -> None:
    one, two = (asked.Statement(sql=text, params={}) for text in ("one", "two"))
    a = asked.mark(pl.DataFrame({"x": [1]}), (one, two))
    b = asked.mark(pl.DataFrame({"x": [1]}), (two,))
    assert asked.of(b, None, a) == (two, one)
    assert asked.of(a.head(0)) == (), "a derived frame must be marked anew"
