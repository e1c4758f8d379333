"""What a damaged table file raises, as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException, PolarsError

from explorer.errors import UnreadableRunError


def damaged(path: Path, reason: str) -> UnreadableRunError:
    """The sentence for a file whose rows cannot be trusted."""
    return UnreadableRunError(
        f"{path} is damaged ({reason}); restore it from a copy, or delete it and lose its rows."
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Polars raises on damaged bytes into UnreadableRunError; FileNotFoundError passes through.

    A panic of its Rust code is no `Exception`, so nothing else would catch it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(path.name) from error
    except (PolarsError, OSError, PanicException) as error:
        raise damaged(path, first_line(error)) from error


def first_line(error: BaseException) -> str:
    """The reason without the plan and the trace that Polars adds below it."""
    return next(iter(str(error).splitlines()), type(error).__name__)
