"""A large run is ingested in portions, each in a transaction of its own, so that its first steps can be seen
long before the last ones are in the index."""

from collections.abc import Iterator, Sequence

import duckdb

from explorer.recording import Part
from explorer.store.loading import literal

FIRST_ROWS = 4_000_000
"""Rows of `expert_loads` in the first portion: a few seconds."""
NEXT_ROWS = 16_000_000
SMALL_BYTES = 2_000_000
"""Below this size of its loads a run is one portion, and its rows are not counted."""


def portions(
    cur: duckdb.DuckDBPyConnection, parts: Sequence[Part], in_index: set[tuple[str, str]]
) -> Iterator[tuple[Sequence[Part], int | None]]:
    """(parts so far, the last step they hold) for each portion; None as the step of the last portion.

    Only the steps of one uninterrupted attempt are split. in_index: (table, file name) of parts there.
    """
    loads = [part for part in parts if part.table == "expert_loads"]
    new = [part for part in loads if (part.table, part.path.name) not in in_index]
    is_plain = all(part.generation is None and part.below is None and part.attempt == 0 for part in parts)
    if is_plain and len(new) > 1 and _bytes(new) > SMALL_BYTES:
        for step in _bounds(new, _rows(cur, new)):
            yield [part for part in parts if part.last <= step or _is_curve(part, step)], step
    yield parts, None


def _is_curve(part: Part, step: int) -> bool:
    """Whether a part of the small table `steps` begins by this step.

    A recorder merges them into long ones; losses that wait for the last step would be missing at first.
    """
    return part.table == "steps" and part.first <= step


def _bounds(new: Sequence[Part], rows: dict[str, int]) -> Iterator[int]:
    """The last step of every portion but the last."""
    total, most = 0, FIRST_ROWS
    for part in sorted(new, key=lambda one: one.last)[:-1]:
        total += rows.get(str(part.path), 0)
        if total >= most:
            yield part.last
            total, most = 0, NEXT_ROWS


def _bytes(parts: Sequence[Part]) -> int:
    return sum(part.path.stat().st_size for part in parts)


def _rows(cur: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> dict[str, int]:
    files = [literal(str(part.path)) for part in parts]
    query = "SELECT file_name, num_rows FROM parquet_file_metadata($files::VARCHAR[])"
    return dict(cur.execute(query, {"files": files}).fetchall())
