"""How a run stands: the content of status.json, and whether the process behind it still lives."""

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from explorer.errors import UnreadableRunError
from explorer.recording.files import read_parsed
from explorer.recording.folder_schema import StatusFile

STATUS_FILE = "status.json"
STATES = ("running", "finished", "stopped", "interrupted", "failed")
HEARTBEAT_LIMIT_S = 60.0


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


def process_is_gone(status: RunStatus, *, now: float | None = None) -> bool:
    """Whether the writer of a status that says `running` no longer exists, as far as one can tell."""
    age = (time.time() if now is None else now) - status.heartbeat
    if status.host != platform.node():
        return age > HEARTBEAT_LIMIT_S
    started = process_start(status.pid)
    if started is not None and status.process_started:
        return started != status.process_started
    # Without the start time a number may have been given to another process, so the heartbeat counts.
    return age > HEARTBEAT_LIMIT_S or not _pid_exists(status.pid)


def _pid_exists(pid: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def status_from_dict(data: Mapping[str, Any]) -> RunStatus:
    """Build from the content of status.json; unknown fields are passed over."""
    known = {f.name for f in fields(RunStatus)}
    return RunStatus(**{k: v for k, v in data.items() if k in known})


def read_recorded_status(folder: Path) -> RunStatus | None:
    """What status.json says, or None when it is missing or damaged (the rows can still be read)."""
    try:
        return status_from_dict(msgspec.structs.asdict(read_parsed(StatusFile, folder / STATUS_FILE)))
    except UnreadableRunError:
        return None


def read_status(folder: Path) -> RunStatus:
    """How the run stands: `running` becomes `interrupted` when its process is gone."""
    status = read_recorded_status(folder)
    if status is None:
        return RunStatus(state="interrupted", message=f"{STATUS_FILE} is missing or damaged")
    if status.state == "running" and process_is_gone(status):
        return replace(status, state="interrupted", message=status.message or "the process is gone")
    return status
