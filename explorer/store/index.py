"""The index: one DuckDB file owned by this process, and cursors for its readers."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import duckdb

from explorer.errors import StoreError
from explorer.store.connection import (
    discard,
    first_line,
    is_damage,
    is_interruption,
    open_database,
)
from explorer.store.ingest import Ingestor, IngestReport, Stopped
from explorer.store.memo import Memo
from explorer.store.private import remove_private_folder
from explorer.store.snapshot import Snapshot, attach, detach

# Opening a file twice in a process gives the same DuckDB database: writers must take turns.
_INGEST_LOCKS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


class Index:
    """A DuckDB file built from run folders, from which it can be rebuilt completely.

    Open it with `Index.open`, use it as a context manager or call `close`. Readers take a cursor each;
    `ingest` may run in another thread meanwhile.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, notice: str | None, private: bool
    ) -> None:
        self._connection = connection
        self._ingest_lock = _INGEST_LOCKS[path.resolve()]
        self._open_lock = threading.Lock()
        self._ingestor = Ingestor()
        self._ingesting: duckdb.DuckDBPyConnection | None = None
        self._snapshot: Snapshot | None = Snapshot()
        """Of the state that new cursors see; None while an ingest may commit."""
        self.path = path
        self.notice = notice
        """A message for users if the index is not the usual one, else None."""
        self.memo = Memo(path.with_suffix(".baselines.json"))
        """Simulated baselines of the runs."""
        self.private = private
        """Whether the file is a temporary one that `close` deletes."""

    @classmethod
    def open(cls, path: Path | None = None) -> "Index":
        """Open the index at `path` (None: in the user's cache folder).

        An index of another version or a damaged one is rebuilt. When another process owns the file, or
        the folder cannot be written, `notice` says so and a private temporary index is used.
        Raises StoreError when even that is impossible.
        """
        try:
            return cls(*open_database(Path(path) if path is not None else None))
        except (OSError, duckdb.Error) as error:
            raise StoreError(
                f"No index can be made, neither in the cache folder nor in the temporary one "
                f"({first_line(error)}); free some space or set XDG_CACHE_HOME to a folder you can write."
            ) from error

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A separate cursor for one use in one thread; all its queries see the same snapshot."""
        with self._open_lock:
            cur = self._connection.cursor()
            try:
                cur.begin()  # its snapshot, see `immediate_transaction_mode`
            except BaseException:
                cur.close()
                raise
            if self._snapshot is not None:
                attach(cur, self._snapshot)
        try:
            yield cur
        finally:
            detach(cur)
            with suppress(duckdb.Error):
                cur.rollback()
            cur.close()

    def ingest(self, dirs: Iterable[Path | str], stopping: threading.Event | None = None) -> IngestReport:
        """Ingest new data below `dirs`; safe beside readers, one call at a time.

        An unreadable run is listed with its problem and does not affect others. A damaged index is rebuilt.
        Raises StoreError when the index cannot be written, Stopped soon after another thread has set
        `stopping` and called `interrupt`.
        """
        folders = [Path(d) for d in dirs]
        stopping = stopping or threading.Event()
        with self._ingest_lock, self._changing():
            try:
                return self._ingest(folders, stopping)
            except duckdb.Error as error:
                if not is_damage(error):
                    raise StoreError(
                        f"The index {self.path} cannot be written ({first_line(error)}); free some space or "
                        f"delete the file, it is rebuilt from the run folders."
                    ) from error
            self._rebuild()
            return self._ingest(folders, stopping)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """The index may change inside the block: cursors share nothing there, and a new state after it."""
        with self._open_lock:
            self._snapshot = None
        try:
            yield
        finally:
            self.forget()

    def forget(self) -> None:
        """Drop what cursors share. They read it again."""
        with self._open_lock:
            self._snapshot = Snapshot()

    def _ingest(self, folders: list[Path], stopping: threading.Event) -> IngestReport:
        cur = self._connection.cursor()
        self._ingesting = cur
        try:
            return self._ingestor.ingest(cur, folders, stopping)
        except duckdb.InterruptException as error:
            raise Stopped from error
        except RuntimeError as error:
            if is_interruption(error):
                raise KeyboardInterrupt from error
            raise
        finally:
            self._ingesting = None
            cur.close()

    def interrupt(self) -> None:
        """Interrupt the query of an ingest running in another thread; it raises Stopped.

        The current run is rolled back as a whole. Between two queries there is nothing to interrupt, so
        also set the event passed to `ingest`, and call again until it has ended.
        """
        cur = self._ingesting
        if cur is not None:
            with suppress(duckdb.Error):  # closed meanwhile
                cur.interrupt()

    def _rebuild(self) -> None:
        """Replace the file by an empty index."""
        with self._open_lock:
            with suppress(duckdb.Error):
                self._connection.close()
            discard(self.path)
            self._connection, self.path, notice, private = open_database(self.path)
            self.notice = notice or self.notice
            self.private = self.private or private
            self._ingestor = self._ingestor.for_empty_index()

    def close(self) -> None:
        """Close the file; a private one is deleted. Closing twice is fine."""
        with self._ingest_lock, self._open_lock:
            self._connection.close()
            if self.private:
                remove_private_folder(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
