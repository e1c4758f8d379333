"""An index of the shipped runs: reading them takes 15 s of processor time, a copy nothing."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from shipped_tables import SHIPPED

from explorer.store import Index


def copied(factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The index as a new file in `folder`; one worker reads the runs, all others take its file."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    source, made = shared / "shipped.duckdb", folder / "index.duckdb"
    with (shared / "shipped.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if source.exists():
            shutil.copyfile(source, made)
        else:
            with Index.open(made) as index:
                index.ingest([SHIPPED])
            shutil.copyfile(made, source)
    return made
