"""Create or take over a run folder, before a recorder's first record."""

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from explorer.errors import RunFolderError
from explorer.files import sync_folder
from explorer.recording import forks
from explorer.recording.compaction import clean
from explorer.recording.files import atomic_write_json, cannot_write
from explorer.recording.info import RUN_FILE, RunInfo
from explorer.recording.listing import printable
from explorer.recording.parts import ATTEMPTS_FILE
from explorer.recording.reader import RunFolder
from explorer.recording.status import STATUS_FILE, RunStatus, own_process, read_recorded_status, why_gone


def make_folder(runs_dir: Path, run: RunInfo) -> tuple[Path, RunStatus, str]:
    """Atomically create `<runs_dir>/<run_id>/`; returns it with its status and start time.

    Raises RunFolderError when the folder exists, `runs_dir` cannot be written, or this process was
    forked from one that had used Polars.
    """
    forks.refuse_broken_pool()
    path = runs_dir / run.run_id
    status = RunStatus(**own_process(), heartbeat=time.time(), num_steps=run.num_steps)
    hidden: Path | None = None
    if (name := printable(str(path))) != str(path):
        raise RunFolderError(
            f"{name}: the path must be Unicode, since the index holds it as text; choose another folder."
        )
    if runs_dir.exists() and not runs_dir.is_dir():
        raise RunFolderError(f"{runs_dir} is a file; give a folder to put the run in.")
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise _exists_already(path)
        hidden = Path(tempfile.mkdtemp(prefix=f".{run.run_id}-", dir=runs_dir))
        hidden.chmod(0o777 & ~_umask())
        atomic_write_json(hidden / RUN_FILE, run.to_dict())
        line = _attempt_line(0, 0)
        atomic_write_json(hidden / ATTEMPTS_FILE, [line])
        atomic_write_json(hidden / STATUS_FILE, status.to_dict())
        hidden.rename(path)
        sync_folder(runs_dir)
    except OSError as error:
        if hidden is not None and hidden.exists() and path.exists():  # another process was faster
            raise _exists_already(path) from error
        raise cannot_write(path, error) from error
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
    return path, status, line["started_at"]


def take_over(path: Path, first_step: int) -> tuple[RunInfo, RunStatus, str, int]:
    """Begin a new attempt at `first_step`; returns run.json, the new status, the attempt's start time and the
    last recorded step. If several processes (ranks) try at once, one succeeds.

    Raises RunFolderError if another process is still writing the run, or this one was forked from one that
    had used Polars, UnreadableRunError when run.json or attempts.json cannot be read.
    """
    forks.refuse_broken_pool()
    with _alone(path):
        return _take_over(path, first_step)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock out other processes that take the run over. Not every system and file system has such locks;
    without them, the writer that is not in attempts.json stops at its next write."""
    handle = None
    with suppress(OSError, ImportError):
        fcntl = importlib.import_module("fcntl")
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _take_over(path: Path, first_step: int) -> tuple[RunInfo, RunStatus, str, int]:
    run = RunFolder(path)
    info, attempts, last_step = run.info, run.attempts, run.last_step
    before = read_recorded_status(path) or RunStatus()
    refuse_a_second_writer(path, before)
    number = max((a.attempt for a in attempts), default=-1) + 1
    lines = [_attempt_line(a.attempt, a.first_step, a.started_at) for a in attempts]
    try:
        clean(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    line = _attempt_line(number, first_step)
    atomic_write_json(path / ATTEMPTS_FILE, [*lines, line])
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
    return info, status, line["started_at"], last_step


def _attempt_line(attempt: int, first_step: int, started_at: str | None = None) -> dict[str, Any]:
    # To the microsecond: it distinguishes two writers of one attempt.
    started = datetime.now(UTC).isoformat(timespec="microseconds") if started_at is None else started_at
    return {"attempt": attempt, "first_step": first_step, "started_at": started}


def refuse_a_second_writer(path: Path, status: RunStatus) -> None:
    """Raise RunFolderError if another process that is still alive writes into this folder."""
    own = own_process()
    ours = all(getattr(status, name) == value for name, value in own.items())
    if status.state == "running" and not ours and status.pid and not why_gone(status, path):
        raise RunFolderError(
            f"{path.name} is still being written by process {status.pid} on {status.host}; "
            "stop that one first (of several ranks, only rank 0 makes the recorder)."
        )


def _exists_already(path: Path) -> RunFolderError:
    return RunFolderError(
        f"{path} exists already; choose another run_id, resume it or delete the folder "
        "(of several ranks, only rank 0 makes the recorder)."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
