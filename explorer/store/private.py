"""Folders of private indexes in the temporary folder, and the removal of those whose process was killed."""

import importlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

# On Windows, what a killed process leaves stays there.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

PREFIX = "moe-routing-explorer-"
LOCK = "owner.lock"
_held: dict[Path, BinaryIO] = {}
"""Folder -> its lock, which the system releases when the process ends, however it ends."""


def make_private_folder() -> Path:
    """A new folder that belongs to this process; removes those of processes that are gone. Raises OSError."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    if fcntl is not None:
        early = folder / f"{LOCK}.new"
        file = early.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        early.rename(folder / LOCK)  # nobody ever sees it without its lock
        _held[folder] = file
    return folder


def remove_private_folder(folder: Path) -> None:
    """Delete a folder that `make_private_folder` made; one that cannot be deleted stays."""
    shutil.rmtree(folder, ignore_errors=True)
    file = _held.pop(folder, None)
    if file is not None:
        file.close()


def remove_abandoned() -> None:
    """Delete the private folders whose process is gone, so that their lock is free."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or removed meanwhile
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
