"""What a damaged table file raises, as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException, PolarsError

from explorer.errors import UnreadableRunError
from explorer.recording.files import cannot_read


def damaged(path: Path, reason: str) -> UnreadableRunError:
    """The sentence for a file whose rows cannot be trusted."""
    return UnreadableRunError(
        f"{path} is damaged ({reason}); restore it from a copy, or delete it and lose its rows."
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Polars raises on damaged bytes into UnreadableRunError; FileNotFoundError passes through.

    What the system refuses to read becomes NotNowError, a kind of it.
    A panic of its Rust code is no `Exception`, so nothing else would catch it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(path.name) from error
    except OSError as error:  # a file that is cut short raises a PolarsError
        raise cannot_read(path, error) from error
    except (PolarsError, PanicException) as error:
        raise damaged(path, first_line(error)) from error


def first_line(error: BaseException) -> str:
    """The reason without the plan and the trace that Polars adds below it."""
    return next(iter(str(error).splitlines()), type(error).__name__)
