"""Errors for damaged table files, as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException, PolarsError

from explorer.errors import UnreadableRunError
from explorer.recording.files import cannot_read


def damaged(path: Path, reason: str) -> UnreadableRunError:
    """The error for a file whose rows cannot be trusted."""
    return UnreadableRunError(
        f"{path} is damaged ({reason}); restore it from a copy, or delete it and lose its rows."
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn Polars errors on damaged bytes into UnreadableRunError; FileNotFoundError passes through.

    A failed read becomes NotNowError, a subclass. Panics of Polars' Rust code are caught too: they are not
    an `Exception`, so nothing else would catch them.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(path.name) from error
    except OSError as error:  # a truncated file raises a PolarsError
        raise cannot_read(path, error) from error
    except (PolarsError, PanicException) as error:
        raise damaged(path, first_line(error)) from error


def first_line(error: BaseException) -> str:
    """The error message without the query plan and trace that Polars appends."""
    return next(iter(str(error).splitlines()), type(error).__name__)
