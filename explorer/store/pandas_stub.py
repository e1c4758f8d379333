"""Keep duckdb from loading pandas, which takes longer than all queries of a page.

To tell NULL from other values, duckdb compares the first parameter of a process with two constants of pandas,
and loads it for that. It keeps what it has found, so two constants that no parameter ever equals are enough.
"""

import sys
import types

import duckdb

_NAME = "pandas"


def answer_duckdb() -> None:
    """Let duckdb look for its constants once; pandas can be imported as usual afterwards."""
    if _NAME in sys.modules:
        return
    stub = types.ModuleType(_NAME)
    stub.NaT, stub.NA = object(), object()  # type: ignore[attr-defined]
    sys.modules[_NAME] = stub
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT $number", {"number": 1})
    finally:
        del sys.modules[_NAME]
