"""Sentences for the person at the terminal of a training loop: on standard error, each kind once."""

import sys
import threading
from contextlib import suppress


class Notices:
    """Writes a sentence of each kind once. Safe to call from several threads; never raises."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._lock = threading.Lock()

    def once(self, kind: str, sentence: str) -> None:
        """Write `sentence` unless one of this kind was written before."""
        with self._lock:
            if kind in self._kinds:
                return
            self._kinds.add(kind)
        self.line(sentence)

    def line(self, sentence: str) -> None:
        """Write one line. A closed or missing standard error is no reason to stop training."""
        with suppress(Exception):
            sys.stderr.write(f"[explorer] {sentence}\n")
            sys.stderr.flush()
