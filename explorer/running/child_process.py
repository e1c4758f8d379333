"""A training run in a child process: `python -m explorer train … --control-stdin`.

The child reads commands from a pipe that this process keeps open. When this process ends for any reason,
the pipe closes and the child stops after its current step.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from explorer.running.jobs import Job

MOST_OUTPUT = 1_000_000
"""Bytes of standard error read while a run trains; pages read it twice a second."""


def train_arguments(job: Job, config_file: Path) -> list[str]:
    """The options of `explorer train` for a job with its configuration in `config_file`."""
    common = ["--json", "--control-stdin", *(["--keep-model"] if job.keep_model else [])]
    if job.resume:
        return ["--resume", str(job.path), *common]
    preset = ["--preset", job.preset] if job.preset else []
    return [
        "--config", str(config_file), "--run-id", job.run_id, "--runs", str(job.runs), *preset, *common
    ]  # fmt: skip


class LocalProcess:
    """A training process on this machine."""

    def __init__(self, job: Job, command: Sequence[str] | None = None, niceness: int = 0) -> None:
        """command: the command before the options of `explorer train`, by default this interpreter.
        niceness: of the child; 0 leaves that of this process. Raises OSError if it does not start."""
        command = command or (sys.executable, "-m", "explorer", "train")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `release`)
        # In the temporary folder, not among the runs, until the training has ended.
        handle, name = tempfile.mkstemp(prefix=f"{job.run_id}-", suffix=".json")
        self._config_file = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(job.config.to_dict(), file)
            self._process = subprocess.Popen(
                [*command, *train_arguments(job, self._config_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                # Ctrl-C in the terminal reaches only this process, which then closes the pipes.
                start_new_session=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(job.config.training.num_threads),
                    # `output` reads its standard error.
                    "PYTHONIOENCODING": "utf-8",
                },
            )
        except BaseException:
            self.release()
            raise
        self.pid = self._process.pid
        with suppress(OSError, AttributeError):
            os.set_blocking(self._stdin.fileno(), False)
        if niceness:
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, self.pid, niceness)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def poll(self) -> int | None:
        return self._process.poll()

    def send(self, line: bytes) -> bool:
        # Up to this length a write to a pipe is atomic.
        if len(line) > getattr(select, "PIPE_BUF", 512):
            return False
        try:
            return os.write(self._stdin.fileno(), line) == len(line)
        except (OSError, ValueError):
            return False

    def hang_up(self) -> None:
        with suppress(OSError):
            self._stdin.close()

    def output(self) -> str:
        if self._errors.closed:
            return ""
        text = b""
        with suppress(OSError, ValueError):
            if self.poll() is not None:
                self._errors.seek(0)
                text = self._errors.read()
            elif hasattr(os, "pread"):
                # From the beginning of the file without moving its position, which the child shares.
                text = os.pread(self._errors.fileno(), MOST_OUTPUT, 0)
        return text.decode("utf-8", "replace")

    def end(self, deadline: float) -> None:
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        self._errors.close()
        self._config_file.unlink(missing_ok=True)
