"""How a run stands: the content of status.json, and whether the process behind it still lives."""

import math
import os
import platform
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from explorer.errors import UnreadableRunError
from explorer.recording.files import read_parsed
from explorer.recording.folder_schema import StatusFile

STATUS_FILE = "status.json"
STATES = ("running", "finished", "stopped", "interrupted", "failed")
HEARTBEAT_LIMIT_S = 180.0
"""So long a process on another host may be silent; it gives a sign of life every 15 seconds."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The fields of status.json; `docs/run_format.md` says what each means."""

    state: str = "running"
    message: str = ""
    host: str = ""
    pid: int = 0
    process_started: str | None = None
    heartbeat: float = 0.0
    """Seconds since the epoch."""
    last_step: int = -1
    committed_step: int = -1
    """Rows of `attempt` beyond this step are not yet whole; it differs from `last_step` only after
    an evaluation that follows the last step."""
    attempt: int = 0
    num_steps: int = 0
    wall_time_s: float | None = None
    tokens_per_second: float | None = None
    results: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of status.json."""
        return asdict(self)


def own_process() -> dict[str, Any]:
    """host, pid and process_started of this process."""
    return {"host": platform.node(), "pid": os.getpid(), "process_started": process_start(os.getpid())}


def process_start(pid: int) -> str | None:
    """When the kernel started process `pid`, in its clock ticks since boot.

    None where there is no /proc; an empty text when there is one and the process is gone (a
    process that has died and that nobody has waited for yet is gone too).
    """
    if not Path("/proc/self/stat").exists():
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the command in brackets and may hold spaces and brackets itself.
    after = text.rpartition(")")[2].split()
    return "" if after[0] in "ZX" else after[19]


def why_gone(status: RunStatus, folder: Path, *, now: float | None = None) -> str:
    """Why the writer of a `running` status seems gone; empty while it seems alive.

    On this host the process is looked up. Of another host only the heartbeat is known.
    """
    silence = _silence(status, folder, time.time() if now is None else now)
    if status.host != platform.node():
        return (
            f"no sign of life from {status.host or 'its host'} {_for(silence)}" if _is_long(silence) else ""
        )
    started = process_start(status.pid) if status.pid > 0 else ""
    if started is not None and (status.process_started or not started):
        return "the process is gone" if started != status.process_started else ""
    # Without the start time a number may have been given to another process, so the heartbeat counts.
    if not _pid_exists(status.pid):
        return "the process is gone"
    return f"no sign of life from the process {_for(silence)}" if _is_long(silence) else ""


def _silence(status: RunStatus, folder: Path, now: float) -> float:
    """Seconds since the last sign of life; infinite where none can be dated.

    There are two, from two clocks: the heartbeat is dated by the writer's host, the file itself often by a
    file server. The later one counts, since a clock that is behind would have a writer dead that lives;
    one that lies in the future dates nothing.
    """
    signs = [status.heartbeat]
    with suppress(OSError):
        signs.append((folder / STATUS_FILE).stat().st_mtime)
    return min((now - sign for sign in signs if now - sign >= -HEARTBEAT_LIMIT_S), default=math.inf)


def _is_long(silence: float) -> bool:
    return silence > HEARTBEAT_LIMIT_S


def _for(silence: float) -> str:
    if math.isinf(silence):
        return "that its clock can date"
    for name, seconds in (("day", 86_400), ("hour", 3_600)):
        if silence >= 2 * seconds:
            return f"for {silence // seconds:.0f} {name}s"
    return f"for {silence // 60:.0f} minutes"


def _pid_exists(pid: int) -> bool:
    if pid < 1:  # 0 and negative numbers stand for groups of processes
        return False
    if sys.platform == "win32":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def read_recorded_status(folder: Path) -> RunStatus | None:
    """The content of status.json, or None when it is missing or damaged (the rows stay readable)."""
    try:
        return _read(folder)
    except UnreadableRunError:
        return None


def _read(folder: Path) -> RunStatus:
    return RunStatus(**msgspec.structs.asdict(read_parsed(StatusFile, folder / STATUS_FILE)))


def read_status(folder: Path) -> RunStatus:
    """How the run stands: `running` becomes `interrupted` when its process is gone.

    So does a status that cannot be read; its message says which field of it breaks which rule.
    """
    try:
        status = _read(folder)
    except UnreadableRunError as error:
        return RunStatus(state="interrupted", message=str(error))
    reason = why_gone(status, folder) if status.state == "running" else ""
    if reason:
        return replace(status, state="interrupted", message=status.message or reason)
    return status
