"""The Parquet files of a run folder: names, writing, and which of them are valid."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from explorer.files import move_into_place, temporary_path, write_whole
from explorer.recording.checksums import digest_files, metadata, parquet_bytes, seal
from explorer.recording.files import cannot_write
from explorer.records.tables import TABLES

ATTEMPTS_FILE = "attempts.json"
MANIFEST_FILE = "manifest.json"
PART_NAME = re.compile(r"(?P<table>[a-z_]+)-(?P<attempt>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet")
COMPACTED_NAME = re.compile(r"(?P<table>[a-z_]+)-g(?P<generation>\d+)\.parquet")
PART_LEVEL = 1  # zstd: parts are short-lived, so speed counts
COMPACTED_LEVEL = 9
LARGE_LEVEL = 3  # level 9 takes several times as long, noticeable from millions of rows on


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file with valid rows.

    Parts of one table and attempt never overlap, and a later one holds later steps only. A merged
    part replaces those in its range, so a reader that already has the rows up to a step of
    an attempt only needs the later rows of any part.
    """

    path: Path
    table: str
    attempt: int
    first: int
    """The first step that may be in it."""
    last: int
    """The last step that may be in it."""
    below: int | None = None
    """First step of a later attempt: rows with step >= below are superseded. None: all rows are valid."""
    generation: int | None = None
    """The number of the compaction that wrote the file; None for a part."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One line of attempts.json."""

    attempt: int
    first_step: int
    started_at: str = ""


def part_name(table: str, attempt: int, first: int, last: int) -> str:
    """The file name of a part that holds the steps `first` to `last` of an attempt."""
    return f"{table}-{attempt}-{first}-{last}.parquet"


def write_parquet(frame: pl.DataFrame, path: Path, *, level: int = PART_LEVEL) -> None:
    """Atomically write a table with its checksums; the caller fsyncs the folder.

    Raises RunFolderError if writing fails.
    """
    content = parquet_bytes(frame, level=level)  # in memory, so that a failed write is an OSError
    try:
        write_whole(path, content, sync_name=False)
    except OSError as error:
        raise cannot_write(path, error) from error


def sink_parquet(chunks: Sequence[Path], path: Path, *, level: int) -> None:
    """Concatenate files into one without holding all of their rows; as safe as `write_parquet`."""
    temporary = temporary_path(path)
    try:
        pl.scan_parquet(list(chunks), glob=False).sink_parquet(
            temporary,
            compression="zstd",
            compression_level=level,
            maintain_order=True,
            metadata=metadata(digest_files(chunks)),
        )
        seal(temporary)
        move_into_place(temporary, path, sync_name=False)
    except (OSError, PolarsError) as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def parse_part(path: Path) -> Part | None:
    """The part that a file name denotes, or None for any other file."""
    match = PART_NAME.fullmatch(path.name)
    if match is None or match["table"] not in TABLES:
        return None
    return Part(
        path=path,
        table=match["table"],
        attempt=int(match["attempt"]),
        first=int(match["first"]),
        last=int(match["last"]),
    )


def without_contained(parts: Iterable[Part]) -> list[Part]:
    """Drop each part that lies inside a larger one of the same table and attempt; in order of steps.

    A merge writes the larger file before it deletes the smaller ones, so both may exist.
    """
    parts_left: list[Part] = []
    for part in sorted(parts, key=lambda p: (p.table, p.attempt, p.first, -p.last)):
        before = parts_left[-1] if parts_left else None
        same = before is not None and (before.table, before.attempt) == (part.table, part.attempt)
        if before is None or not same or part.last > before.last:
            parts_left.append(part)
    return parts_left


def superseded_from(attempt: int, attempts: Sequence[Attempt]) -> int | None:
    """The lowest first step of the attempts after `attempt`, or None when there is none."""
    return min((a.first_step for a in attempts if a.attempt > attempt), default=None)


def remove(paths: Iterable[Path]) -> None:
    """Delete superseded files; one that cannot be deleted (still being read) may stay."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
