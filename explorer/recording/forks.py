"""Whether this process can use Polars, whose threads do not survive a fork.

A child forked from a process with a running Polars pool inherits the pool's locks without its
threads: the first frame that it writes hangs. DataLoader workers and others that do not use frames
are not affected.
"""

import os
from pathlib import Path

from explorer.errors import RunFolderError

POOL_THREADS = ("polars-", "async-executor", "tokio-rt")
"""Prefix of the names of the pool's threads."""
HARMLESS = ("polars-ooc",)
"""A thread that exists from the import on."""
TASKS = Path("/proc/self/task")


class _Fork:
    """State that a forked child inherits from its parent."""

    had_pool = False
    is_broken = False

    def before(self) -> None:
        self.had_pool = pool_runs()

    def in_child(self) -> None:
        self.is_broken = self.is_broken or self.had_pool


def pool_runs() -> bool:
    """Whether Polars has started its threads in this process; True if that cannot be determined."""
    try:
        names = [(task / "comm").read_text(encoding="utf-8", errors="replace") for task in TASKS.iterdir()]
    except OSError:
        return not TASKS.exists()
    return any(name.startswith(POOL_THREADS) and not name.startswith(HARMLESS) for name in names)


def refuse_broken_pool() -> None:
    """Raise RunFolderError in a process where Polars would hang."""
    if _FORK.is_broken:
        raise RunFolderError(
            f"process {os.getpid()} was forked from one that had used Polars, whose threads do not survive a "
            'fork; start it with "spawn", e.g. multiprocessing.get_context("spawn").'
        )


_FORK = _Fork()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_FORK.before, after_in_child=_FORK.in_child)
