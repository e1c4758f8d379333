"""Diagnose a failed ingest: is the cause the run's files, the system, or the index itself?"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from explorer.errors import UnreadableRunError
from explorer.recording import Part
from explorer.recording.damage import damaged
from explorer.recording.files import cannot_read
from explorer.store.connection import first_line, is_damage
from explorer.store.loading import literal

PIECE = 1 << 22
"""Bytes read at a time."""


def blame(folder: Path, parts: Sequence[Part], error: Exception) -> UnreadableRunError | None:
    """The error for an unreadable file; None if the run is not the cause.

    Parts are read over a separate connection, since the index itself may be broken.
    """
    with duckdb.connect() as apart:
        for part in parts:
            try:
                apart.execute(
                    "SELECT count(COLUMNS(*)) FROM read_parquet([?])", [literal(str(part.path))]
                ).fetchall()
            except duckdb.Error as part_error:
                return _refusal(part.path) or damaged(part.path, first_line(part_error))
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnreadableRunError(
            f"{folder} needs more memory than is free ({first_line(error)}); close other programs."
        )
    if isinstance(error, duckdb.OutOfRangeException | duckdb.ConversionException):
        return UnreadableRunError(
            f"{folder}: a number in its rows is too large for the index, which holds whole numbers up to "
            f"2^63 - 1 ({first_line(error)}); correct the counts that were recorded."
        )
    if isinstance(error, duckdb.OperationalError) or is_damage(error):
        return None
    return UnreadableRunError(f"{folder} cannot be read ({first_line(error)}); restore it from a copy.")


def _refusal(path: Path) -> UnreadableRunError | None:
    """Why the system cannot read a file; None if it can."""
    try:
        with path.open("rb") as file:
            while file.read(PIECE):
                pass
    except OSError as error:
        return cannot_read(path, error)
    return None
