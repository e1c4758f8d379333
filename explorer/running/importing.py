"""An import in a process of its own: `python -m explorer import … --json --control-stdin`.

A file of somebody else may take all memory or stop the interpreter; the server must survive that. The child
ends when the pipe to its standard input closes, which happens however this process ends.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from explorer.errors import ForeignFileError

ERROR_PREFIX = "explorer import: "
"""How the sentence of a child begins."""
PROGRESS_PREFIX = "progress: "
MAX_OUTPUT = 1_000_000
"""Bytes of standard error that are read."""
MAX_RESULT = 64_000_000
"""Bytes of standard output: one JSON object per run, with its report."""
NICENESS = 5
"""Pages must stay quick beside an import."""
CANCEL_GRACE_S = 10.0
CANCELLED = 128 + signal.SIGTERM
"""Exit code of a child that was interrupted."""
CANCELLED_SENTENCE = "The import was cancelled; nothing of it is kept."


def progress_line(done: int, total: int) -> str:
    """What a child writes about bytes read and bytes in all."""
    return f"{PROGRESS_PREFIX}{done} {total}"


class ImportProcess:
    """One child process that imports a file, or detects its format."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """arguments: after `explorer import`, `--json` and `--control-stdin`. Raises OSError."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "explorer", "import", "--json", "--control-stdin", *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._errors,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
            )
        except BaseException:
            self.close()
            raise
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)

    @property
    def is_open(self) -> bool:
        """Whether the child is still at work."""
        return self._process.poll() is None

    def progress(self) -> tuple[int, int]:
        """Bytes read and bytes in all; (0, 0) before the first line."""
        for line in reversed(_content(self._errors, MAX_OUTPUT).splitlines()):
            parts = line.removeprefix(PROGRESS_PREFIX).split()
            if line.startswith(PROGRESS_PREFIX) and len(parts) == 2 and all(map(str.isdecimal, parts)):
                return int(parts[0]), int(parts[1])
        return 0, 0

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of the child; kill it after `timeout_s` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        if self.is_open:
            self._process.kill()
            self._process.wait()

    def cancel(self) -> None:
        """Ask the child to end and clean up; kill it if it does not."""
        self._hang_up()
        self.wait(CANCEL_GRACE_S)

    def results(self) -> list[dict[str, Any]]:
        """The objects that the child printed, once it has ended. Raises ForeignFileError if it failed."""
        code = self._process.wait()
        problem = failure_reason(_content(self._errors, MAX_OUTPUT), code)
        if problem:
            raise ForeignFileError(problem)
        return [json.loads(line) for line in _content(self._output, MAX_RESULT).splitlines()]

    def close(self) -> None:
        """Free pipe and files."""
        if hasattr(self, "_process"):
            self._hang_up()
        self._output.close()
        self._errors.close()

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def import_arguments(path: Path, runs: Path, format: str | None, options: Mapping[str, str]) -> list[str]:
    """The arguments of an import of one file into the folder `runs`."""
    format_option = ["--format", format] if format else []
    answers = [text for key, value in options.items() for text in ("--option", f"{key}={value}")]
    return [str(path.absolute()), "--runs", str(runs), *format_option, *answers]


def detect_in_child(path: Path, timeout_s: float) -> str:
    """The name of the format of a file. Raises ForeignFileError with one sentence."""
    child = ImportProcess([str(path.absolute()), "--detect"])
    try:
        child.wait(timeout_s)
        return str(child.results()[0]["format"])
    finally:
        child.close()


def failure_reason(errors: str, code: int) -> str:
    """Why a child failed, one sentence; empty if it did not. code: as `subprocess` has it."""
    if code == 0:
        return ""
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith(PROGRESS_PREFIX)]
    for line in reversed(lines):
        if line.startswith(ERROR_PREFIX):
            return line.removeprefix(ERROR_PREFIX)
    if code == CANCELLED:
        return CANCELLED_SENTENCE
    if code < 0:
        memory = "; the machine may have run out of memory" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"The import was ended by signal {-code}{memory}; check the file, or import it elsewhere."
    last = lines[-1] if lines else "no message"
    return f"The import ended with code {code} ({last}); check the file, and report it."


def _content(file: Any, most: int) -> str:
    """A file from its beginning, without moving the position that the child shares."""
    if file.closed:
        return ""
    return os.pread(file.fileno(), most, 0).decode("utf-8", "replace")
