"""The side of the recorder that touches the disk: parts, their commit, merging and compaction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from explorer.recording.checks import TABLE_OF
from explorer.recording.compaction import MAX_PARTS, compact, merge
from explorer.recording.files import atomic_write_json, sync_folder
from explorer.recording.frames import to_frame
from explorer.recording.parts import Part, part_name, write_parquet
from explorer.recording.status import STATUS_FILE, RunStatus
from explorer.records import Record


@dataclass
class Batch:
    """What one flush writes: whole steps of every table."""

    records: dict[str, list[Record]]
    last_step: int
    """The last whole step that was given."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Fields of status.json that change with it."""
    is_written: bool = False


class PartWriter:
    """Writes batches in order. Used by one thread at a time.

    Every method raises RunFolderError when the disk refuses, and leaves a folder that can be read.
    """

    def __init__(self, path: Path, status: RunStatus) -> None:
        self.path = path
        self.status = status
        self._parts: dict[str, list[Part]] = {table: [] for table in TABLE_OF.values()}

    def write(self, batch: Batch) -> None:
        """Write one part a table, then commit all of them at once by a new status; merge if many.

        A batch whose `is_written` is still false after an error has to be written again, alone or
        with more steps behind it: the part that results contains the one that was not committed.
        """
        new = {table: self._write_part(table, records) for table, records in batch.records.items() if records}
        if new:
            sync_folder(self.path)
        last_step = max(self.status.last_step, batch.last_step)
        self._replace_status(
            **batch.figures,
            heartbeat=time.time(),
            last_step=last_step,
            committed_step=max([self.status.committed_step, last_step, *(p.last for p in new.values())]),
        )
        batch.is_written = True
        for table, part in new.items():
            self._parts[table].append(part)
            if len(self._parts[table]) > MAX_PARTS:
                self._parts[table] = merge(self._parts[table])

    def finish(self, **fields: Any) -> None:
        """Compact, then set the final fields of status.json."""
        try:
            compact(
                self.path,
                attempt=self.status.attempt,
                last_step=self.status.last_step,
                committed_step=self.status.committed_step,
            )
        finally:  # even when the disk is too full to compact, the parts can be read
            self._replace_status(**fields, heartbeat=time.time())

    def _replace_status(self, **fields: Any) -> None:
        status = replace(self.status, **fields)
        atomic_write_json(self.path / STATUS_FILE, status.to_dict())
        self.status = status

    def _write_part(self, table: str, records: list[Record]) -> Part:
        first, last, attempt = int(records[0].step), int(records[-1].step), self.status.attempt
        path = self.path / part_name(table, attempt, first, last)
        write_parquet(to_frame(table, self.path.name, records), path)
        return Part(path=path, table=table, attempt=attempt, first=first, last=last)


def throughput(steps: list[Any]) -> Mapping[str, float | None]:
    """Seconds and tokens per second as the newest StepRecord has them, or nothing."""
    newest = steps[-1] if steps else None
    if newest is None or newest.wall_time_s is None:
        return {}
    seconds = float(newest.wall_time_s)
    speed = newest.tokens_seen / seconds if seconds > 0 else None
    return {"wall_time_s": seconds, "tokens_per_second": speed}
