"""Record the statements that a query runs, so that an export can include the SQL of every panel.

All queries go through `_frames.frame` and `first_row`, which note their statements while a listener is
active. `figures.store` keeps the statements beside the result.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement and the values of its `$name` parameters."""

    sql: str
    params: Mapping[str, Any]


_listening: ContextVar[list[Statement] | None] = ContextVar("listening", default=None)


@contextmanager
def listening() -> Iterator[list[Statement]]:
    """A list that collects the statements run inside the block, in this thread."""
    statements: list[Statement] = []
    token = _listening.set(statements)
    try:
        yield statements
    finally:
        _listening.reset(token)


def note(sql: str, params: Mapping[str, Any]) -> None:
    """Report a statement to the listener, if there is one."""
    statements = _listening.get()
    if statements is not None:
        statements.append(Statement(sql=sql, params=dict(params)))
