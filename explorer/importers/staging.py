"""Staging area for incomplete runs: a hidden folder, which no listing shows.

Its runs are renamed to their final place when all of them are finished, so an import that fails or is killed
leaves no run. The next import into the same folder deletes the remains of a killed one.
"""

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from explorer.errors import RunFolderError
from explorer.files import sync_folder
from explorer.recording.files import cannot_write

PREFIX = ".import-"
LOCK = "lock"
ABANDONED_S = 86_400.0
"""Age after which a folder without a lock file is considered abandoned: a day."""


@contextmanager
def staging_folder(runs_dir: Path) -> Iterator[Path]:
    """A hidden folder inside `runs_dir`, deleted afterwards with its content. Raises RunFolderError."""
    if runs_dir.exists() and not runs_dir.is_dir():
        raise RunFolderError(f"{runs_dir} is a file; give a folder to put the run in.")
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        _delete_abandoned(runs_dir)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=runs_dir))
    except OSError as error:
        raise cannot_write(runs_dir, error) from error
    handle = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def publish(folder: Path, runs_dir: Path, run_ids: Sequence[str]) -> None:
    """Move finished runs from the staging folder to their place: all of them, or none if one
    already exists."""
    moved: list[Path] = []
    try:
        for run_id in run_ids:
            refuse_existing(runs_dir / run_id)
            (folder / run_id).rename(runs_dir / run_id)
            moved.append(runs_dir / run_id)
        sync_folder(runs_dir)
    except BaseException as error:
        for path in moved:
            with suppress(OSError):
                path.rename(folder / path.name)
        if isinstance(error, OSError):
            raise cannot_write(runs_dir, error) from error
        raise


def refuse_existing(path: Path) -> None:
    """Raise RunFolderError if a run of that name exists."""
    if path.exists():
        raise RunFolderError(f"{path} exists already; choose another --option run_id=… or delete the folder.")


def _lock(folder: Path) -> int | None:
    """Hold the folder's lock until the handle is closed, or the process is gone."""
    with suppress(OSError, ImportError):
        fcntl = importlib.import_module("fcntl")
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    return None


def _delete_abandoned(runs_dir: Path) -> None:
    for folder in runs_dir.glob(f"{PREFIX}*"):
        with suppress(OSError, ImportError):
            if folder.is_symlink() or not folder.is_dir():
                continue
            if not (folder / LOCK).exists():
                if time.time() - folder.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            fcntl = importlib.import_module("fcntl")
            handle = os.open(folder / LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: an import is using it
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
