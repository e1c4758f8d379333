"""Results of simulations, kept in a file beside the index so that every process need not simulate again."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from explorer.files import write_whole

MOST = 10_000
"""Results that are kept; the older half goes when there are more."""


class Memo:
    """Numbers by key. A key names everything that the numbers depend on, so none is ever out of date."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._numbers: dict[str, list[float]] | None = None

    def get(self, key: str, compute: Callable[[], Sequence[float]]) -> tuple[float, ...]:
        """The numbers of this key, computed unless they are known.

        A file that cannot be read or written is as good as none.
        """
        with self._lock:
            if self._numbers is None:
                self._numbers = _read(self._path)
            stored = self._numbers.get(key)
        if stored is not None:
            return tuple(stored)
        numbers = [float(number) for number in compute()]
        with self._lock:
            self._numbers[key] = numbers
            if len(self._numbers) > MOST:
                self._numbers = dict(list(self._numbers.items())[MOST // 2 :])
            with suppress(OSError):
                # A first view of the shipped runs writes some forty times: waiting for the disk would show.
                write_whole(self._path, json.dumps(self._numbers).encode(), sync=False)
        return tuple(numbers)


def _read(path: Path) -> dict[str, list[float]]:
    """The content of a file; empty where it is missing or anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_whole = isinstance(content, dict) and all(
        isinstance(numbers, list) and all(isinstance(number, float) for number in numbers)
        for numbers in content.values()
    )
    return content if is_whole else {}
