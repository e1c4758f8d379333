"""Open the index file: ownership, version, and the fallback when it is unusable."""

import contextlib
import re
from pathlib import Path

import duckdb

from explorer.config.places import NoHomeError, default_path
from explorer.store.pandas_stub import answer_duckdb
from explorer.store.private import make_private_folder
from explorer.store.schema import schema_version, statements

THREADS = 2
MEMORY_LIMIT = "4GB"
"""An upper limit: ingesting 10^8 rows of loads at once fails with 2 GB; small runs need less."""
CHECKPOINT = "128MB"
"""Log size before it is merged into the file; at DuckDB's 16 MB many small runs take a third longer."""
LOCKED = re.compile(r"Conflicting lock is held in (?P<holder>.+?) \(PID (?P<pid>\d+)\)")
OWNED = ("could not set lock", "conflicting lock", "used by another process")
BROKEN = (
    "checksum",
    "corrupt",
    "not a valid duckdb database",
    "database has been invalidated",
    "version number",  # written by another version of DuckDB
)


answer_duckdb()


class _Locked(Exception):
    """Another process owns the file; the argument is the message for users."""


def open_database(path: Path | None) -> tuple[duckdb.DuckDBPyConnection, Path, str | None, bool]:
    """Open the index at `path` (None: the default); rebuild it if it is old or damaged, use a private one if
    another process owns it.

    Returns the connection, its file, a message for users or None, and whether the file
    is a private one to be deleted on close.
    """
    try:
        path = default_path() if path is None else path
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open_or_rebuild(path), path, None, False
    except (_Locked, NoHomeError) as error:
        notice = str(error)
    except (OSError, duckdb.Error) as error:
        notice = f"The index {path} cannot be opened ({first_line(error)}); a private one is used instead."
    private = make_private_folder() / "explorer.duckdb"
    return _open_or_rebuild(private), private, notice, True


def discard(path: Path) -> None:
    """Delete an index file and DuckDB's files beside it. Missing files are ignored."""
    for suffix in ("", ".wal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()


def set_aside(path: Path) -> None:
    """Rename a file that is not a readable index to `<name>.damaged`, since it may hold other data."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(f"{path}.damaged")
    discard(path)


def first_line(error: BaseException) -> str:
    """The first line of an error message without a closing full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def is_damage(error: BaseException) -> bool:
    """Whether an error means that the index file itself is damaged, not the data or the query."""
    broken = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    return isinstance(error, broken) or any(word in str(error).lower() for word in BROKEN)


def is_fatal(error: BaseException) -> bool:
    """Whether the database is unusable after this error."""
    return isinstance(error, duckdb.FatalException | duckdb.InternalException)


def is_interruption(error: BaseException) -> bool:
    """Whether an error is DuckDB's report of Ctrl-C during a query."""
    return isinstance(error.__cause__, KeyboardInterrupt)


def _open_or_rebuild(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        connection = _connect(path)
    except duckdb.Error as error:
        if not is_damage(error):
            raise
        set_aside(path)  # the run folders still hold all data
        connection = _connect(path)
    if _version(connection) == schema_version():
        return connection
    connection.close()
    discard(path)
    connection = _connect(path)
    _create(connection)
    return connection


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(
            str(path),
            config={
                "threads": THREADS,
                "memory_limit": MEMORY_LIMIT,
                "checkpoint_threshold": CHECKPOINT,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                # A reader's snapshot is that of its `begin`, not that of its first statement.
                "immediate_transaction_mode": True,
            },
        )
    except duckdb.IOException as error:
        if not any(word in str(error).lower() for word in OWNED):
            raise
        held = LOCKED.search(str(error))
        owner = f"process {held['pid']} ({held['holder']})" if held else "another process"
        raise _Locked(
            f"The index {path} is in use by {owner}; this one works with a private temporary index. "
            f"Close the other process to share the index again."
        ) from error


def _version(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The schema version in the file; None if it is empty, foreign or incomplete."""
    try:
        row = connection.execute("SELECT version FROM raw.schema_version").fetchone()
        connection.execute("SELECT count(*) FROM raw.ingested_parts").fetchone()
    except duckdb.Error:
        return None
    return str(row[0]) if row else None


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every table in one transaction, the version last."""
    connection.begin()
    for statement in statements():
        connection.execute(statement)
    connection.execute("CREATE TABLE raw.schema_version (version VARCHAR)")
    connection.execute("INSERT INTO raw.schema_version VALUES (?)", [schema_version()])
    connection.commit()
