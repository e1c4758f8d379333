"""A training run in a process forked from one that has torch loaded: another `launch` of the run queue.

    with forking(), RunQueue(at_once=2, launch=ForkedProcess) as queue: ...

A training run at `quick` spends about a fifth of its processor time on imports; a fork spends almost none.
Each run still has a process of its own. Needs a POSIX system (`is_available`).
"""

import json
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from explorer.running.child_process import MOST_OUTPUT, train_arguments
from explorer.running.jobs import Job

PRELOADED = "explorer.training.preloaded"


def is_available() -> bool:
    """Whether this system can fork from a server."""
    return "forkserver" in multiprocessing.get_all_start_methods()


@contextmanager
def forking() -> Iterator[None]:
    """Start the server that training runs are forked from, with one thread per numerical library."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOADED])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    yield


def _train(arguments: Sequence[str], commands: Connection, errors: str) -> None:
    """In the fork: take the place of a process of its own, and run `python -m explorer train`."""
    # Ctrl-C in the terminal reaches only the parent, which then closes the pipes.
    os.setsid()
    os.dup2(commands.fileno(), 0)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdin = os.fdopen(0, closefd=False, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", closefd=False, encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", closefd=False, encoding="utf-8", buffering=1)
    # The command line stands above this module: it is run by name, as `python -m explorer` does.
    sys.argv[1:] = ["train", *arguments]
    runpy.run_module("explorer", run_name="__main__")


@contextmanager
def _no_script() -> Iterator[None]:
    """A fork begins by importing the parent's script, which may be anything and is not needed."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class ForkedProcess:
    """A forked training process on this machine."""

    def __init__(self, job: Job) -> None:
        """Raises OSError if it does not start."""
        self._folder = TemporaryDirectory(prefix=f"{job.run_id}-")
        config, self._errors = Path(self._folder.name) / "config.json", Path(self._folder.name) / "errors"
        config.write_text(json.dumps(job.config.to_dict()), encoding="utf-8")
        context = multiprocessing.get_context("forkserver")
        reader, self._commands = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_train, args=(train_arguments(job, config), reader, str(self._errors))
        )
        with _no_script():
            self._process.start()
        reader.close()
        self.pid = self._process.pid or 0
        os.set_blocking(self._commands.fileno(), False)

    def poll(self) -> int | None:
        return self._process.exitcode

    def send(self, line: bytes) -> bool:
        with suppress(OSError, ValueError):
            return os.write(self._commands.fileno(), line) == len(line)
        return False

    def hang_up(self) -> None:
        with suppress(OSError):
            self._commands.close()

    def output(self) -> str:
        with suppress(OSError), self._errors.open("rb") as file:
            return file.read(MOST_OUTPUT).decode("utf-8", "replace")
        return ""

    def end(self, deadline: float) -> None:
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def release(self) -> None:
        self._folder.cleanup()
