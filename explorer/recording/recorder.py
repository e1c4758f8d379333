"""The writer of a run folder: a Recorder for anybody's training loop.

    with FolderRecorder.create(Path("runs"), info) as recorder:
        for step in range(num_steps):
            ...
            recorder.record(LoadRecord(step=step, tokens_LE=counts))
            recorder.step_done(step)

`record` keeps a copy in memory. About once a second `step_done` hands the whole steps to a thread
that writes them: waiting for a disk would cost the training loop far more than the rest of it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from explorer.config import RunConfig
from explorer.errors import RunFolderError
from explorer.recording.checks import TABLE_OF, Sizes, checked
from explorer.recording.compaction import clean
from explorer.recording.files import atomic_write_json, cannot_write, plain, sync_folder
from explorer.recording.info import RUN_FILE, RunInfo, utc_now, with_rules_of
from explorer.recording.parts import ATTEMPTS_FILE, MANIFEST_FILE
from explorer.recording.reader import RunFolder
from explorer.recording.status import (
    STATES,
    STATUS_FILE,
    RunStatus,
    own_process,
    process_is_gone,
    read_recorded_status,
)
from explorer.recording.writer import Batch, PartWriter, throughput
from explorer.records import EventRecord, Record

FLUSH_INTERVAL_S = 1.0
MAX_PENDING_CELLS = 4_000_000
"""Beyond so many array cells in memory the loop waits for the disk."""
RESERVED = (RUN_FILE, STATUS_FILE, ATTEMPTS_FILE, MANIFEST_FILE)


class FolderRecorder:
    """Appends the records of one attempt to a run folder (the `Recorder` protocol).

    Make one with `create` or `resume`, and call it from one thread. Raises RunFolderError, as a
    sentence, for a record that breaks a rule and for a disk that refuses: the latter from the next
    `step_done`, `flush` or `finish`, and the records are kept for another try.
    """

    def __init__(self, path: Path, info: RunInfo, status: RunStatus, first_step: int) -> None:
        self.path = path
        self.info = info
        self._writer = PartWriter(path, status)
        self._sizes = Sizes(info.num_moe_layers, info.num_experts, info.top_k)
        self._pending: dict[str, list[Record]] = {table: [] for table in TABLE_OF.values()}
        self._pending_cells = 0
        self._figures: dict[str, Any] = {}
        self._done = first_step - 1
        self._newest = dict.fromkeys(self._pending, first_step)
        self._flushed_at = time.monotonic()
        self._finished = False
        self._thread: ThreadPoolExecutor | None = None
        self._in_flight: tuple[Batch, Future[None]] | None = None

    @classmethod
    def create(cls, runs_dir: Path | str, run: RunInfo) -> Self:
        """Make `<runs_dir>/<run_id>/`, whole or not at all.

        Raises RunFolderError when the folder exists or `runs_dir` cannot be written.
        """
        runs_dir = Path(runs_dir)
        path = runs_dir / run.run_id
        status = RunStatus(**own_process(), heartbeat=time.time(), num_steps=run.num_steps)
        hidden: Path | None = None
        if runs_dir.exists() and not runs_dir.is_dir():
            raise RunFolderError(f"{runs_dir} is a file; give a folder to put the run in.")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise RunFolderError(
                    f"{path} exists already; choose another run_id, resume it or delete the folder."
                )
            hidden = Path(tempfile.mkdtemp(prefix=f".{run.run_id}-", dir=runs_dir))
            hidden.chmod(0o777 & ~_umask())
            atomic_write_json(hidden / RUN_FILE, run.to_dict())
            atomic_write_json(hidden / ATTEMPTS_FILE, [_attempt_line(0, 0)])
            atomic_write_json(hidden / STATUS_FILE, status.to_dict())
            hidden.rename(path)
            sync_folder(runs_dir)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            if hidden is not None:
                shutil.rmtree(hidden, ignore_errors=True)
        return cls(path, run, status, first_step=0)

    @classmethod
    def resume(cls, path: Path | str, first_step: int) -> Self:
        """Go on with a run at `first_step` as a new attempt; rows from there on are superseded.

        Raises RunFolderError when another process still writes the run, or UnreadableRunError when
        run.json or attempts.json cannot be read. Steps that were trained but never recorded leave
        an event `recording_gap`.
        """
        path = Path(path)
        if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
            raise RunFolderError(
                f"first_step = {first_step!r}: must be a whole number >= 0; give the step to go on at."
            )
        run = RunFolder(path)
        info, attempts, last_step = run.info, run.attempts, run.last_step
        before = read_recorded_status(path) or RunStatus()
        _refuse_a_second_writer(path, before)
        number = max((a.attempt for a in attempts), default=-1) + 1
        lines = [_attempt_line(a.attempt, a.first_step, a.started_at) for a in attempts]
        try:
            clean(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        atomic_write_json(path / ATTEMPTS_FILE, [*lines, _attempt_line(number, first_step)])
        status = RunStatus(
            **own_process(),
            heartbeat=time.time(),
            attempt=number,
            last_step=min(last_step, first_step - 1),
            committed_step=first_step - 1,
            num_steps=info.num_steps,
            wall_time_s=before.wall_time_s,
        )
        atomic_write_json(path / STATUS_FILE, status.to_dict())
        recorder = cls(path, info, status, first_step)
        if last_step < first_step - 1:
            detail = f"steps {last_step + 1} to {first_step - 1} were trained and not recorded"
            recorder.record(EventRecord(step=first_step, kind="recording_gap", detail=detail))
        return recorder

    @property
    def status(self) -> RunStatus:
        """What status.json says by now."""
        return self._writer.status

    def record(self, record: Record) -> None:
        """Keep a copy of one record in memory.

        Raises RunFolderError for a wrong shape or type, a step that is done, or a step before one
        that the same table already has.
        """
        self._refuse_when_finished()
        kept = checked(record, self._sizes)
        table = TABLE_OF[type(kept)]
        if kept.step <= self._done or kept.step < self._newest[table]:
            limit = max(self._done + 1, self._newest[table])
            raise RunFolderError(
                f"{type(kept).__name__}.step = {kept.step}: must be at least {limit}, steps do not go back; "
                "record before step_done, or resume the run at the earlier step."
            )
        self._newest[table] = int(kept.step)
        self._pending[table].append(kept)
        self._pending_cells += _cells(kept)

    def step_done(self, step: int) -> None:
        """Every record of `step` has been given. Flushes when the last flush is a second old."""
        self._refuse_when_finished()
        if step <= self._done:
            raise RunFolderError(
                f"step_done({step}): must come after step {self._done}; call it once a step, in order."
            )
        self._done = int(step)
        full = self._pending_cells >= MAX_PENDING_CELLS
        if full or time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            self._settle(wait=full)
            if self._in_flight is None:
                self._hand_over(dict.fromkeys(self._pending, self._done))

    def flush(self) -> None:
        """Write every whole step and wait for it: what it has returned from survives a kill.

        Do it before a checkpoint, so that no step lies between the two.
        """
        self._refuse_when_finished()
        self._flush(dict.fromkeys(self._pending, self._done))

    def save_json(self, name: str, data: Any) -> None:
        """Keep a document as `<name>.json` (the suffix may be given) beside the tables."""
        self._refuse_when_finished()
        file_name = name if name.endswith(".json") else f"{name}.json"
        if file_name in RESERVED or Path(file_name).name != file_name or file_name.startswith("."):
            raise RunFolderError(
                f"name = {name!r}: must be a file name and none of {', '.join(RESERVED)}; choose another."
            )
        atomic_write_json(self.path / file_name, data)

    def rules_changed(self, config: RunConfig) -> None:
        """Replace run.json by one that says what `config` says of the rules, the schedule included.

        Atomic: a kill leaves the old document or the new one. Whoever changes the rules calls it before
        the first step under them, so that no recorded load is without its rule.
        """
        self._refuse_when_finished()
        info = with_rules_of(self.info, config)
        atomic_write_json(self.path / RUN_FILE, info.to_dict())
        self.info = info

    def set_throughput(
        self, *, wall_time_s: float | None = None, tokens_per_second: float | None = None
    ) -> None:
        """Figures for status.json. Without it they come from the StepRecords' wall_time_s."""
        self._figures |= {"wall_time_s": plain(wall_time_s), "tokens_per_second": plain(tokens_per_second)}

    def set_results(self, results: Mapping[str, Any]) -> None:
        """The table of final figures for status.json; NaN becomes null."""
        self._figures["results"] = plain(results)

    def finish(self, state: str, message: str = "") -> None:
        """Write what is left, compact, and say how the run ended.

        After `finished` and `stopped` everything given counts; after `interrupted` and `failed` the
        rows of a step that was not done are left out, events excepted. Once it has returned, calling
        it again does nothing.
        """
        if self._finished:
            return
        if state not in STATES[1:]:
            raise RunFolderError(f"state = {state!r}: must be one of {', '.join(STATES[1:])}; choose one.")
        everything = state in ("finished", "stopped")
        self._flush(
            {
                table: newest if everything or table == "events" else self._done
                for table, newest in self._newest.items()
            }
        )
        self._writer.finish(state=state, message=message)
        self._finished = True
        if self._thread is not None:
            self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish("finished")
            return
        state = "failed" if isinstance(error, Exception) else "interrupted"
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        try:
            self.finish(state, message)
        except RunFolderError as second:
            error.add_note(f"The run's folder could not be finished either: {second}")

    def _refuse_when_finished(self) -> None:
        if self._finished:
            raise RunFolderError(
                f"{self.path.name} has been finished; resume it as a new attempt to record more."
            )

    def _flush(self, limits: Mapping[str, int]) -> None:
        self._settle(wait=True)
        self._hand_over(limits)
        self._settle(wait=True)

    def _hand_over(self, limits: Mapping[str, int]) -> None:
        """Give the records up to a step a table to the thread. Nothing may be in flight."""
        batch = Batch(records={}, last_step=self._done)
        for table, records in self._pending.items():
            count = sum(r.step <= limits[table] for r in records)
            batch.records[table], self._pending[table] = records[:count], records[count:]
        batch.figures = {**throughput(batch.records["steps"]), **self._figures}
        self._count_cells()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"recorder-{self.path.name}")
        self._in_flight = (batch, self._thread.submit(self._writer.write, batch))
        self._flushed_at = time.monotonic()

    def _settle(self, *, wait: bool) -> None:
        """Take note of how the write in flight went; after an error its records are pending again."""
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
    """How much memory a record takes, as a number of array cells."""
    return 1 + sum(value.size for value in vars(record).values() if isinstance(value, np.ndarray))


def _attempt_line(attempt: int, first_step: int, started_at: str | None = None) -> dict[str, Any]:
    started = utc_now() if started_at is None else started_at
    return {"attempt": attempt, "first_step": first_step, "started_at": started}


def _refuse_a_second_writer(path: Path, status: RunStatus) -> None:
    own = own_process()
    ours = all(getattr(status, name) == value for name, value in own.items())
    if status.state == "running" and not ours and status.pid and not process_is_gone(status):
        raise RunFolderError(
            f"{path.name} is still being written by process {status.pid} on {status.host}; "
            "stop that one first."
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
