"""Fewer, larger files: merging parts while a run is being written, and one file per table when it ends.

Both write the new file first and delete the old ones last, so that a process killed in between
leaves a folder with the same valid rows. Memory stays bounded however long the run is.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from explorer.errors import RunFolderError
from explorer.files import TEMPORARY, sync_folder
from explorer.recording.checksums import check_file
from explorer.recording.damage import reading
from explorer.recording.files import atomic_write_json
from explorer.recording.parts import (
    COMPACTED_LEVEL,
    COMPACTED_NAME,
    LARGE_LEVEL,
    MANIFEST_FILE,
    Part,
    parse_part,
    part_name,
    remove,
    sink_parquet,
    write_parquet,
)
from explorer.recording.reader import RunFolder, read_part
from explorer.recording.schema import KEYS, sort_columns

MAX_PARTS = 64
GROWTH = 2
MAX_MERGED_BYTES = 64 * 2**20
MAX_MERGED_ROWS = 12_000_000
"""A part of these sizes is no longer merged: a merge holds its rows in memory, 60 bytes each."""
CHUNK_ROWS = 5_000_000
"""Approximate number of rows sorted at a time."""


def merge(parts: Sequence[Part]) -> list[Part]:
    """Merge the newest of one table's parts into one; `parts` in order of steps. Returns the resulting parts.

    Older parts are included only while they are at most twice as large as the merged ones, so a row
    is rewritten about log(rows) times, not once per merge.
    """
    sizes = [part.path.stat().st_size for part in parts]
    start, total, rows = len(parts) - 1, sizes[-1], _number_of_rows(parts[-1].path)
    while start > 0 and sizes[start - 1] <= GROWTH * total and total + sizes[start - 1] <= MAX_MERGED_BYTES:
        rows += _number_of_rows(parts[start - 1].path)
        if rows > MAX_MERGED_ROWS:
            break
        start -= 1
        total += sizes[start]
    old = list(parts[start:])
    if len(old) < 2:
        return list(parts)
    first, last = old[0], old[-1]
    path = first.path.with_name(part_name(first.table, first.attempt, first.first, last.last))
    write_parquet(pl.concat([read_part(part) for part in old]), path)
    sync_folder(path.parent)
    remove(part.path for part in old)
    whole = Part(path=path, table=first.table, attempt=first.attempt, first=first.first, last=last.last)
    return [*parts[:start], whole]


def compact(folder: Path, *, attempt: int, last_step: int, committed_step: int) -> int:
    """Write every table as one sorted file, switch the manifest, delete the rest.

    Only valid rows are kept. Returns the new generation. Raises RunFolderError if writing
    fails; the parts then stay valid. Only for the folder's single writer, while it is idle.
    """
    snapshot = RunFolder(folder).snapshot()
    generation = snapshot.generation + 1
    files: dict[str, list[str]] = {}
    for table, parts in snapshot.parts.items():
        if parts:
            path = folder / f"{table}-g{generation}.parquet"
            _write_sorted(parts, path)
            files[table] = [path.name]
    sync_folder(folder)
    if any(a.attempt > attempt for a in RunFolder(folder).attempts):
        remove(folder / name for names in files.values() for name in names)
        raise RunFolderError(
            f"{folder.name} was resumed elsewhere while it was compacted; its parts still count."
        )
    atomic_write_json(
        folder / MANIFEST_FILE,
        {
            "generation": generation,
            "files": files,
            "attempt": attempt,
            "last_step": last_step,
            "committed_step": committed_step,
        },
    )
    named = {name for names in files.values() for name in names}
    remove(
        p for p in folder.iterdir() if _is_table_file(p) and p.name not in named and _attempt(p) <= attempt
    )
    return generation


def _write_sorted(parts: Sequence[Part], path: Path) -> None:
    """The rows of one table's parts, sorted, as one file; a large table by a few layers at a time."""
    table = parts[0].table
    order = sort_columns(table)
    rows = sum(_number_of_rows(part.path) for part in parts)
    if rows <= CHUNK_ROWS or "layer" not in KEYS[table]:
        frame = pl.concat([read_part(part) for part in parts]).sort(order, maintain_order=True)
        write_parquet(frame, path, level=COMPACTED_LEVEL)
        return
    for part in parts:
        check_file(part.path, values_are_enough=True)  # once, not per range of layers
    chunks: list[Path] = []
    try:
        for low, high in _layer_ranges(parts, math.ceil(rows / CHUNK_ROWS)):
            some = pl.col("layer").is_between(low, high - 1)
            frame = pl.concat([read_part(part, where=some) for part in parts])
            chunks.append(path.with_name(f"{path.stem}-{low}.parquet{TEMPORARY}"))
            write_parquet(frame.sort(order, maintain_order=True), chunks[-1])
        sink_parquet(chunks, path, level=LARGE_LEVEL)
    finally:
        remove(chunks)


def _number_of_rows(path: Path) -> int:
    with reading(path):
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def _highest_layer(path: Path) -> int:
    with reading(path):
        rows = pl.scan_parquet(path, glob=False, use_statistics=False)
        return int(rows.select(pl.max("layer")).collect().item() or 0)


def _layer_ranges(parts: Sequence[Part], number: int) -> Iterator[tuple[int, int]]:
    """About `number` half-open ranges over the layers that occur."""
    layers = 1 + max(_highest_layer(part.path) for part in parts)
    width = max(1, layers // number)
    for low in range(0, layers, width):
        yield low, min(low + width, layers)


def _attempt(path: Path) -> int:
    """The attempt that wrote a part; -1 for a compacted file, which the manifest replaces."""
    part = parse_part(path)
    return -1 if part is None else part.attempt


def _is_table_file(path: Path) -> bool:
    return parse_part(path) is not None or COMPACTED_NAME.fullmatch(path.name) is not None


def clean(folder: Path) -> None:
    """Delete the remains of a killed writer: temporary files, superseded files and uncommitted parts.

    Only for the folder's single writer, before it begins. Raises OSError: an uncommitted part must not
    stay, because it would become valid as soon as a later attempt has begun.
    """
    valid = {part.path.name for parts in RunFolder(folder).snapshot().parts.values() for part in parts}
    leftovers = [p for p in folder.iterdir() if _is_table_file(p) and p.name not in valid]
    leftovers += [
        p for p in folder.iterdir() if re.fullmatch(rf".+\.(parquet|json)(\..+)?\{TEMPORARY}", p.name)
    ]
    for path in leftovers:
        path.unlink()
