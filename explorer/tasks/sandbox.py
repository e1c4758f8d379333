"""Run Python code that a model wrote, in a process that can compute and nothing else.

Two layers (`sandbox_child` has the details): a seccomp filter that refuses every system call except those for
computing, memory and the answer, so there is no network, no file, no other process; and, where the system
permits them, namespaces with an empty network and an empty file system. Limits of processor time, elapsed
time and memory hold besides. Without seccomp nothing is run (`SandboxError`): there is no unprotected mode.
"""

import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from explorer.errors import SandboxError

CHILD = Path(__file__).with_name("sandbox_child.py")
PRELOAD = (
    "math",
    "re",
    "string",
    "itertools",
    "functools",
    "collections",
    "operator",
    "random",
    "typing",
    "heapq",
)
"""Modules that the code may import: all others need files, which are refused."""
MOST_ANSWER = 1_000_000
"""Bytes read from the process."""
FINISHED, FAILED, TIMED_OUT = "finished", "failed", "timed out"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run may use."""

    cpu_seconds: int = 2
    seconds: float = 5.0
    """Elapsed time, including the start of the process."""
    memory_mb: int = 256
    """Address space, in units of 1,048,576 bytes; the interpreter itself takes about 30."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the code."""

    status: str
    """finished, failed (an exception, or the process died) or timed out."""
    error: str = ""
    """Type and text of the exception, or what ended the process."""
    values: tuple[str, ...] = ()
    """`repr` of the results, one per call."""
    protections: tuple[str, ...] = ()
    """seccomp, and namespaces where the system permits them."""


def run_code(
    code: str,
    *,
    function: str = "",
    arguments: Sequence[Sequence[Any]] = (),
    limits: Limits | None = None,
    preload: Sequence[str] = PRELOAD,
    namespaces: bool = True,
    machine: str | None = None,
) -> Outcome:
    """Run `code`, then call its `function` on each list of arguments (JSON values).

    The expected results stay in this process: the code cannot read what it should return.
    `namespaces`: enter them where that is possible. `machine`: as `platform.machine()`.
    Raises SandboxError, having run nothing, where code cannot be confined.
    """
    limits = limits or Limits()
    if sys.platform != "linux":
        raise SandboxError(_unavailable(f"seccomp filters exist on Linux, and this is {sys.platform}"))
    job = {
        "code": code,
        "function": function,
        "arguments": [list(one) for one in arguments],
        "preload": list(preload),
        "namespaces": namespaces,
        "machine": machine or platform.machine(),
        "mount_point": tempfile.gettempdir(),
        "cpu_seconds": limits.cpu_seconds,
        "memory_mb": limits.memory_mb,
    }
    answers, ended = _talk(json.dumps(job).encode(), limits.seconds)
    return _outcome(answers, ended)


@cache
def unavailable() -> str:
    """Why code cannot be run on this system, one sentence; empty if it can. Asked once per process."""
    try:
        run_code("")
    except SandboxError as error:
        return str(error)
    return ""


def _unavailable(reason: str) -> str:
    return (
        f"sandbox: {reason}, so code that a model wrote is not run; evaluate this task on Linux (x86_64 or "
        "aarch64) with seccomp."
    )


def _talk(job: bytes, seconds: float) -> tuple[list[dict[str, Any]], str]:
    """The answers of a new process, and what ended it: empty, `timed out` or the name of a signal."""
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(job)
            process.stdin.close()
        text, in_time = _read(process.stdout.fileno(), deadline)
        if in_time:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        process.stdout.close()
    ended = TIMED_OUT if not in_time else signal.Signals(-code).name if code < 0 else ""
    return _answers(text), ended


def _answers(text: bytes) -> list[dict[str, Any]]:
    """The complete lines; none after one that is not an object, which the code itself must have written."""
    answers = []
    for line in text.split(b"\n")[:-1]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(answer, dict):
            break
        answers.append(answer)
    return answers


def _read(descriptor: int, deadline: float) -> tuple[bytes, bool]:
    """Everything until the end or MOST_ANSWER bytes, and whether that came before the deadline."""
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while len(text) < MOST_ANSWER:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return text, False
            part = os.read(descriptor, 65_536)
            if not part:
                break
            text += part
    return text, True


def _outcome(answers: list[dict[str, Any]], ended: str) -> Outcome:
    first = answers[0] if answers else {}
    if first.get("status") == "refused":
        raise SandboxError(_unavailable(str(first["error"])))
    protections = tuple(first.get("protections", ()))
    if len(answers) > 1:
        last = answers[1]
        return Outcome(
            status=FINISHED if last.get("status") == FINISHED else FAILED,
            error=str(last.get("error", "")),
            values=tuple(map(str, last.get("values", ()))),
            protections=protections,
        )
    if ended in (TIMED_OUT, "SIGXCPU"):
        return Outcome(status=TIMED_OUT, error="ran past its time limit", protections=protections)
    if not protections:
        raise SandboxError(
            _unavailable(f"the confined process did not start ({ended or 'it ended at once'})")
        )
    return Outcome(
        status=FAILED, error=f"the process ended ({ended or 'without an answer'})", protections=protections
    )
