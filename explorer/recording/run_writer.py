"""The writer of a run folder, for our trainer and importers; other loops use `explorer.recording.Recorder`.

    with RunWriter.create(Path("runs"), info) as recorder:
        for step in range(num_steps):
            ...
            recorder.record(LoadRecord(step=step, tokens_LE=counts))
            recorder.step_done(step)

`record` keeps a copy in memory. About once a second `step_done` passes the completed steps to a writer
thread: waiting for the disk would cost the training loop far more than everything else here.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from explorer.config.run import RunConfig
from explorer.errors import RunFolderError
from explorer.recording.checks import TABLE_OF, checked, given_twice, key_of
from explorer.recording.files import MAX_DOCUMENT_BYTES, atomic_write_json, encoded, plain
from explorer.recording.folder_schema import LARGEST_STEP, MAX_DEPTH
from explorer.recording.heartbeat import Heartbeat
from explorer.recording.info import RUN_FILE, RunInfo, with_rules_of
from explorer.recording.opening import make_folder, take_over
from explorer.recording.parts import ATTEMPTS_FILE, MANIFEST_FILE
from explorer.recording.reader import RunFolder
from explorer.recording.status import STATES, STATUS_FILE, RunStatus
from explorer.recording.values import Refused, preview, to_float, to_whole
from explorer.recording.writer import Batch, PartWriter, throughput, write_future
from explorer.records.records import EventRecord, Record

FLUSH_INTERVAL_S = 1.0
MAX_PENDING_CELLS = 4_000_000
"""Maximum number of array cells in memory before the loop waits for the disk."""
RESERVED = (RUN_FILE, STATUS_FILE, ATTEMPTS_FILE, MANIFEST_FILE)


class RunWriter:
    """Appends the records of one attempt to a run folder (the `Recorder` protocol).

    Make one with `create` or `resume`, in one process, and call it from one thread. Raises RunFolderError
    for an invalid record (nothing else is lost), for a run that was meanwhile resumed elsewhere, and for a
    failed write (from the next `step_done`, `flush` or `finish`; the records are kept for a retry).
    """

    def __init__(
        self, path: Path, info: RunInfo, status: RunStatus, started_at: str, first_step: int
    ) -> None:
        self.path = path
        self.info = info
        self._layout = info.layout
        self._writer = PartWriter(path, status, started_at, self._layout)
        self._process = os.getpid()
        self._pending: dict[str, list[Record]] = {table: [] for table in TABLE_OF.values()}
        self._pending_cells = 0
        self._figures: dict[str, Any] = {}
        self._done = first_step - 1
        self._newest = dict.fromkeys(self._pending, first_step)
        self._keys: dict[str, set[tuple[Any, ...]]] = {table: set() for table in self._pending}
        """Per table, the keys of its newest step."""
        self._flushed_at = time.monotonic()
        self.flushes_by_time = True
        """False: only when memory is full. Where nothing is lost by waiting, that makes fewer parts."""
        self._finished = False
        self._thread: ThreadPoolExecutor | None = None
        self._in_flight: tuple[Batch, Future[None]] | None = None
        self._heartbeat = Heartbeat(self._writer.beat, path.name)

    @classmethod
    def create(cls, runs_dir: Path | str, run: RunInfo) -> Self:
        """Atomically create `<runs_dir>/<run_id>/`.

        Raises RunFolderError if the folder exists, `runs_dir` cannot be written, or Polars does not work
        because this process was forked.
        """
        path, status, started_at = make_folder(Path(runs_dir), run)
        return cls(path, run, status, started_at, first_step=0)

    @classmethod
    def resume(cls, path: Path | str, first_step: int) -> Self:
        """Resume a run at `first_step` as a new attempt; rows from there on are superseded.

        Raises RunFolderError when another process still writes the run, or UnreadableRunError when
        run.json or attempts.json cannot be read. Steps that were trained but never recorded leave
        an event `recording_gap`.
        """
        first_step = _step("first_step", first_step, "give the step to go on at")
        path = RunFolder(path).path
        info, status, started_at, last_step = take_over(path, first_step)
        recorder = cls(path, info, status, started_at, first_step)
        if last_step < first_step - 1:
            detail = f"steps {last_step + 1} to {first_step - 1} were trained and not recorded"
            recorder.record(EventRecord(step=first_step, kind="recording_gap", detail=detail))
        return recorder

    @property
    def status(self) -> RunStatus:
        """The current content of status.json."""
        return self._writer.status

    @property
    def pending_cells(self) -> int:
        """Array cells in memory that are not on their way to the disk."""
        return self._pending_cells

    @property
    def num_pending_steps(self) -> int:
        return len(self._pending["steps"])

    def record(self, record: Record) -> None:
        """Keep a copy of one record in memory.

        Raises RunFolderError for a wrong shape or type, a completed step, a step before one that the
        same table already has, or a second record per step (or per micro-batch or domain in it).
        """
        self._refuse_when_finished()
        copy = checked(record, self._layout)
        table = TABLE_OF[type(copy)]
        if copy.step <= self._done or copy.step < self._newest[table]:
            limit = max(self._done + 1, self._newest[table])
            raise RunFolderError(
                f"{type(copy).__name__}.step = {copy.step}: must be at least {limit}, steps do not go back; "
                "record before step_done, or resume the run at the earlier step."
            )
        key, keys = key_of(copy), self._keys[table]
        if copy.step > self._newest[table]:
            keys.clear()
        if key in keys:
            raise given_twice(copy)
        if key is not None:
            keys.add(key)
        self._newest[table] = copy.step
        self._pending[table].append(copy)
        self._pending_cells += _cells(copy)

    def step_done(self, step: int) -> None:
        """Mark `step` as complete. Flushes if the last flush was a second ago."""
        self._refuse_when_finished()
        step = _step("step", step, "call step_done with the step that was recorded")
        if step <= self._done:
            raise RunFolderError(
                f"step_done({step}): must come after step {self._done}; call it once per step, in order."
            )
        self._done = step
        full = self._pending_cells >= MAX_PENDING_CELLS
        is_due = self.flushes_by_time and time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S
        if full or is_due:
            self._settle(wait=full)
            if self._in_flight is None:
                self._hand_over(dict.fromkeys(self._pending, self._done))

    def flush(self) -> None:
        """Write every completed step and wait for it; after it returns, they survive a kill.

        Call it before a checkpoint, so that no step is missing between the two.
        """
        self._refuse_when_finished()
        self._flush(dict.fromkeys(self._pending, self._done))

    def save_json(self, name: str, data: Any) -> None:
        """Save a document as `<name>.json` (with or without the suffix in `name`) beside the tables."""
        self._refuse_when_finished()
        file_name = name if name.endswith(".json") else f"{name}.json"
        if file_name in RESERVED or Path(file_name).name != file_name or file_name.startswith("."):
            raise RunFolderError(
                f"name = {name!r}: must be a file name and none of {', '.join(RESERVED)}; choose another."
            )
        atomic_write_json(self.path / file_name, data)

    def rules_changed(self, config: RunConfig) -> None:
        """Replace run.json by one with the rules of `config`, including the schedule.

        Atomic: a kill leaves the old document or the new one. Call it before the first step under the
        new rules, so that every recorded load has its rule.
        """
        self._refuse_when_finished()
        info = with_rules_of(self.info, config)
        atomic_write_json(self.path / RUN_FILE, info.to_dict())
        self.info = info

    def set_throughput(
        self, *, wall_time_s: float | None = None, tokens_per_second: float | None = None
    ) -> None:
        """Set the throughput in status.json; by default it comes from the StepRecords' wall_time_s.

        Raises RunFolderError for a value that is not a number.
        """
        measures = {"wall_time_s": wall_time_s, "tokens_per_second": tokens_per_second}
        self._figures |= {name: _figure(name, value) for name, value in measures.items()}

    def set_results(self, results: Mapping[str, Any]) -> None:
        """Set the final metrics in status.json; NaN becomes null.

        Raises RunFolderError for values that a reader of status.json would reject.
        """
        if not isinstance(results, Mapping):
            raise RunFolderError(
                f"results = {preview(results)}: must map names to metrics; give a dictionary."
            )
        document = plain(results, levels=MAX_DEPTH - 1, name="results")
        if len(encoded(document, "results")) > MAX_DOCUMENT_BYTES // 2:
            raise RunFolderError(
                f"results: must have at most {MAX_DOCUMENT_BYTES // 2:,} bytes as JSON; keep large tables "
                "with save_json."
            )
        self._figures["results"] = document

    def finish(self, state: str, message: str = "", *, compact: bool = True) -> None:
        """Write the remaining rows, compact, and set the final status.

        compact=False leaves the parts unmerged: for very long runs that costs readers less than sorting
        costs here.

        After `finished` and `stopped` all records are valid; after `interrupted` and `failed` the rows of
        an incomplete step are dropped, except for events. Further calls do nothing.
        """
        if self._finished:
            return
        self._refuse_other_process()
        if state not in STATES[1:]:
            raise RunFolderError(f"state = {state!r}: must be one of {', '.join(STATES[1:])}; choose one.")
        everything = state in ("finished", "stopped")
        self._flush(
            {
                table: newest if everything or table == "events" else self._done
                for table, newest in self._newest.items()
            }
        )
        if compact:
            self._writer.finish(state=state, message=message)
        else:
            self._writer.end(state=state, message=message)
        self._close()

    def abandon(self) -> None:
        """Write nothing more, for a caller that deletes the folder; the status stays unchanged."""
        self._close()

    def _close(self) -> None:
        self._finished = True
        self._heartbeat.stop()
        if self._thread is not None:
            self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:  # in a forked child: the run belongs to its parent
            return
        if error is None:
            try:
                self.finish("finished")
            except Exception as refused:
                self.end_as("failed", str(refused))
                raise
            return
        state = "failed" if isinstance(error, Exception) else "interrupted"
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        try:
            self.finish(state, message)
        except Exception as second:
            error.add_note(f"The run's folder could not be finished either: {second}")
            self.end_as(state, f"{message} (and: {second})")

    def end_as(self, state: str, message: str) -> None:
        """Set the final status when the last rows or the compaction could not be written."""
        with suppress(RunFolderError):
            self._writer.end(state=state, message=message)
        self._close()

    def _refuse_other_process(self) -> None:
        if os.getpid() != self._process:
            raise RunFolderError(
                f"{self.path.name} is recorded by process {self._process}, not by {os.getpid()}, which was "
                'forked from it; record in one process, and start others with "spawn" and a run of their own.'
            )

    def _refuse_when_finished(self) -> None:
        self._refuse_other_process()
        if self._finished:
            raise RunFolderError(
                f"{self.path.name} has been finished; resume it as a new attempt to record more."
            )

    def _flush(self, limits: Mapping[str, int]) -> None:
        self._settle(wait=True)
        self._hand_over(limits)
        self._settle(wait=True)

    def _hand_over(self, limits: Mapping[str, int]) -> None:
        """Pass the records up to each table's step limit to the thread. No write may be in flight."""
        batch = Batch(records={}, last_step=self._done)
        for table, records in self._pending.items():
            count = sum(r.step <= limits[table] for r in records)
            batch.records[table], self._pending[table] = records[:count], records[count:]
        batch.figures = {**throughput(batch.records["steps"]), **self._figures}
        self._count_cells()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"recorder-{self.path.name}")
        self._in_flight = (batch, write_future(self._thread, self._writer.write, batch))
        self._flushed_at = time.monotonic()

    def _settle(self, *, wait: bool) -> None:
        """Collect the result of the write in flight; after an error its records are pending again."""
        if self._in_flight is None or not (wait or self._in_flight[1].done()):
            return
        batch, future = self._in_flight
        error = future.exception()
        self._in_flight = None
        if error is None:
            return
        if not batch.is_written:
            for table, records in batch.records.items():
                self._pending[table] = records + self._pending[table]
            self._count_cells()
        raise error

    def _count_cells(self) -> None:
        self._pending_cells = sum(_cells(r) for records in self._pending.values() for r in records)


def _cells(record: Record) -> int:
    """Memory of a record, as a number of array cells."""
    return 1 + sum(value.size for value in vars(record).values() if isinstance(value, np.ndarray))


def _figure(name: str, value: Any) -> float | None:
    """A number for status.json; None if it is not finite."""
    try:
        return None if value is None else plain(to_float(value))
    except Refused as error:
        raise RunFolderError(f"{name} = {preview(value)}: {error}; give a number or None.") from error


def _step(name: str, value: Any, remedy: str) -> int:
    try:
        return to_whole(value, LARGEST_STEP)
    except Refused as error:
        raise RunFolderError(f"{name} = {preview(value)}: {error}; {remedy}.") from error
