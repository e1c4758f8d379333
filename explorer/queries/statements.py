"""Which statements an answer came from, so that an export can name the SQL of every figure.

Everything that asks DuckDB goes through `_frames.frame` and `first_row`, which note what they ran while
somebody listens. An answer then carries its statements along; what is made of answers is marked anew with
`mark(result, of(answer, other))`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

A = TypeVar("A")
_ATTRIBUTE = "_asked_statements"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement and the values of its `$name` parameters."""

    sql: str
    params: Mapping[str, Any]


_listening: ContextVar[list[Statement] | None] = ContextVar("listening", default=None)


@contextmanager
def listening() -> Iterator[list[Statement]]:
    """A list that fills with the statements that run inside the block, in this thread."""
    statements: list[Statement] = []
    token = _listening.set(statements)
    try:
        yield statements
    finally:
        _listening.reset(token)


def note(sql: str, params: Mapping[str, Any]) -> None:
    """Tell whoever listens."""
    statements = _listening.get()
    if statements is not None:
        statements.append(Statement(sql=sql, params=dict(params)))


class MarkedDict(dict[Any, Any]):
    """A dictionary that can carry its statements."""


def mark(answer: A, statements: tuple[Statement, ...]) -> A:
    """The same answer, which now knows its statements; what cannot carry them goes without."""
    if type(answer) is dict:
        answer = cast("A", MarkedDict(cast("dict[Any, Any]", answer)))
    with suppress(AttributeError, TypeError):
        # Also past the lock of a frozen dataclass: nothing of its value changes.
        object.__setattr__(answer, _ATTRIBUTE, statements)
    return answer


def of(*answers: object) -> tuple[Statement, ...]:
    """The statements of these answers, each once, in order."""
    found: list[Statement] = []
    for answer in answers:
        for statement in getattr(answer, _ATTRIBUTE, ()):
            if statement not in found:
                found.append(statement)
    return tuple(found)
