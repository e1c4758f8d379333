"""The one thread that keeps the index up to date."""

import threading
from collections.abc import Iterable
from pathlib import Path

from explorer.errors import ExplorerError
from explorer.store.index import Index
from explorer.store.ingest import IngestReport, Stopped

PAUSE_S = 0.02
"""Seconds between two attempts to interrupt a round on stopping."""


class IngestThread:
    """Calls `index.ingest(dirs)` every `interval_s` seconds until it is stopped.

    `problem` is the message of the last failure, None after a success; `report` the last result;
    `rounds` the number of completed rounds.
    """

    def __init__(self, index: Index, dirs: Iterable[Path | str], interval_s: float = 0.5) -> None:
        self._index = index
        self._dirs = [Path(d) for d in dirs]
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        self.report: IngestReport | None = None
        self.rounds = 0

    def start(self) -> None:
        """Start the thread; does nothing while it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="explorer-ingest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop now and wait: the current run is rolled back. Safe to call twice or before `start`."""
        self._stopping.set()
        self._wake.set()
        while self._thread is not None and self._thread.is_alive():
            self._index.interrupt()
            self._thread.join(PAUSE_S)
        self._thread = None

    def wake(self) -> None:
        """Ingest now instead of at the end of the interval."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.report = self._index.ingest(self._dirs, self._stopping)
                self.problem = None
            except Stopped:
                return
            except ExplorerError as error:
                self.problem = str(error)
            except BaseException as error:  # a thread that dies silently would freeze every live view
                self.problem = f"The index could not be brought up to date ({type(error).__name__}: {error})."
            self.rounds += 1
            if not self._stopping.is_set():
                self._wake.wait(self._interval_s)
