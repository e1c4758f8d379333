"""The part of the recorder that touches the disk: parts, their commit, merging and compaction."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.files import sync_folder
from explorer.recording.checks import TABLE_OF
from explorer.recording.compaction import MAX_PARTS, compact, merge
from explorer.recording.files import atomic_write_json, plain
from explorer.recording.folder_schema import MAX_TEXT, BrokenRule, StatusFile, parsed
from explorer.recording.frames import to_frame
from explorer.recording.layout import Layout
from explorer.recording.parts import ATTEMPTS_FILE, Part, part_name, write_parquet
from explorer.recording.reader import RunFolder
from explorer.recording.status import STATUS_FILE, RunStatus
from explorer.records.records import Record


@dataclass
class Batch:
    """The content of one flush: completed steps of every table."""

    records: dict[str, list[Record]]
    last_step: int
    """The last completed step."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Fields of status.json that change with it."""
    is_written: bool = False


class SupersededError(RunFolderError):
    """A later attempt has taken the run over; this writer must not write any more."""


class PartWriter:
    """Writes batches in order. Used by one thread at a time, `beat` aside.

    Every method raises RunFolderError if writing fails, and leaves a readable folder.
    """

    def __init__(self, path: Path, status: RunStatus, started_at: str, layout: Layout) -> None:
        """started_at: start time of the attempt, as in attempts.json."""
        self.path = path
        self.status = status
        self._started_at = started_at
        self._layout = layout
        self._parts: dict[str, list[Part]] = {table: [] for table in TABLE_OF.values()}
        self._status_lock = threading.Lock()
        self._ended = False

    def write(self, batch: Batch) -> None:
        """Write one part per table, then commit all of them at once by a new status; merge if many.

        A batch whose `is_written` is still false after an error must be written again, alone or
        with further steps: the resulting part contains the one that was not committed.
        """
        self._refuse_when_superseded()
        new = {table: self._write_part(table, records) for table, records in batch.records.items() if records}
        if new:
            sync_folder(self.path)
        last_step = max(self.status.last_step, batch.last_step)
        self._replace_status(
            **batch.figures,
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
        self._refuse_when_superseded()
        try:
            compact(
                self.path,
                attempt=self.status.attempt,
                last_step=self.status.last_step,
                committed_step=self.status.committed_step,
            )
        finally:  # even when the disk is too full to compact, the parts can be read
            self.end(**fields)

    def end(self, **fields: Any) -> None:
        """Set the final fields of status.json; nothing changes it after that."""
        self._replace_status(**fields)
        self._ended = True

    def beat(self) -> bool:
        """Refresh the heartbeat. False after the end; a failed write is ignored."""
        try:
            with self._status_lock:
                if self._ended:
                    return False
                self._refuse_when_superseded()
                self._write_status(self.status)
        except SupersededError:
            return False
        except RunFolderError:
            pass
        return True

    def _replace_status(self, **fields: Any) -> None:
        with self._status_lock:
            self._refuse_when_superseded()
            self._write_status(replace(self.status, **fields))

    def _write_status(self, status: RunStatus) -> None:
        message = str(status.message)
        if len(message) > MAX_TEXT:
            message = f"{message[: MAX_TEXT - 1]}…"
        status = replace(status, heartbeat=time.time(), message=message)
        document = plain(status.to_dict())
        try:
            parsed(StatusFile, document)
        except BrokenRule as error:
            raise RunFolderError(f"{STATUS_FILE} of {self.path.name}: {error}; correct it.") from error
        atomic_write_json(self.path / STATUS_FILE, document)
        self.status = status

    def _refuse_when_superseded(self) -> None:
        """Stop a writer that was assumed dead: a later attempt supersedes its steps."""
        if not (self.path / ATTEMPTS_FILE).exists():
            return  # the folder was deleted, which the following write reports
        try:
            newest = max(RunFolder(self.path).attempts, key=lambda a: a.attempt)
        except (UnreadableRunError, ValueError):
            return  # the folder is damaged or gone; the following write reports it
        other = (newest.attempt, newest.started_at) != (self.status.attempt, self._started_at)
        if newest.attempt >= self.status.attempt and other:
            raise SupersededError(
                f"{self.path.name} was resumed elsewhere at step {newest.first_step} "
                f"(attempt {newest.attempt}), so this writer (attempt {self.status.attempt}) has stopped; "
                "end this process and let the other one go on (of several ranks, only rank 0 makes the "
                "recorder)."
            )

    def _write_part(self, table: str, records: list[Record]) -> Part:
        first, last, attempt = records[0].step, records[-1].step, self.status.attempt
        path = self.path / part_name(table, attempt, first, last)
        try:
            write_parquet(to_frame(table, self.path.name, records, self._layout), path)
        except RunFolderError:
            raise
        except Exception as error:
            raise RunFolderError(
                f"{table} of steps {first} to {last} of {self.path.name} could not be written "
                f"({type(error).__name__}: {error}); report this, with the records of these steps."
            ) from error
        return Part(path=path, table=table, attempt=attempt, first=first, last=last)


def throughput(steps: list[Any]) -> Mapping[str, float | None]:
    """Seconds and tokens per second from the newest StepRecord, or nothing."""
    newest = steps[-1] if steps else None
    if newest is None or newest.wall_time_s is None:
        return {}
    seconds = newest.wall_time_s
    speed = newest.tokens_seen / seconds if seconds > 0 else None
    return {"wall_time_s": seconds, "tokens_per_second": speed}


def write_future(pool: ThreadPoolExecutor, write: Callable[[Batch], None], batch: Batch) -> Future[None]:
    """The future of `write(batch)` in the pool; of the finished call while the interpreter ends."""
    try:
        return pool.submit(write, batch)
    except RuntimeError:  # no pool takes work any more
        future: Future[None] = Future()
    try:
        write(batch)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future
