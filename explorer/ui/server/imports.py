"""Files that visitors import: uploads on disk, and the child processes that read them.

An upload lives in a temporary folder of its own. It is deleted when its import has ended, when the visitor
chooses another file, or when the session that holds it ends, whichever comes first.
"""

import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.errors import ConfigError, ExplorerError, ForeignFileError
from explorer.recording import RunFolder
from explorer.running.importing import ImportProcess, detect_in_child, import_arguments

AT_ONCE = 2
"""Imports of all visitors at the same time."""
DETECTION_TIMEOUT_S = 60.0
MAX_NAME = 100
PREFIX = "explorer-upload-"
ABANDONED_S = 86_400.0
"""Uploads of a server that was killed are deleted after a day, when another one starts."""
READ_ONLY = "This app only shows runs: nothing can be imported here; start one of your own for that."
BUSY = ConfigError(
    "imports", AT_ONCE, "are running already, as many as this app runs at once", "try again in a moment"
)


class ForeignFile:
    """A file that a visitor has named: an upload, or a path below the folder that the host configured."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """folder: deleted when nothing refers to this object any more, if `delete` has not done so before."""
        self.path = path
        self.name = path.name
        self._deletion = None if folder is None else weakref.finalize(self, shutil.rmtree, folder, True)

    @classmethod
    def of_upload(cls, name: str, data: memoryview | bytes) -> "ForeignFile":
        """Write uploaded bytes below a new temporary folder. Raises OSError."""
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        file = cls(folder / safe_name(name), folder)
        _uploads.add(file)
        # A disk that is full raises here, and what was written goes with `file`.
        file.path.write_bytes(data)
        return file

    def delete(self) -> None:
        """Delete an upload; a file of the host stays where it is."""
        if self._deletion is not None:
            self._deletion()


_uploads: "weakref.WeakSet[ForeignFile]" = weakref.WeakSet()


def delete_abandoned(folder: Path) -> None:
    """Delete what a killed server has left in the temporary folder."""
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if not path.is_symlink() and time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def safe_name(name: str) -> str:
    """A file name of a safe alphabet, with its endings: importers tell some formats by them.

    >>> safe_name("../a b/rank 0.jsonl")
    'rank_0.jsonl'
    """
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip(".-")[-MAX_NAME:] or "upload"


def file_below(folder: Path, text: str) -> ForeignFile:
    """A path that a visitor typed, relative to the folder that the host configured.

    Raises ConfigError for one that is not there, or leads out of the folder, also through a link.
    """
    problem = ConfigError(
        "path", text, "is no file or folder below the folder of this host", "name one relative to it"
    )
    try:
        path = (folder / text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise problem from error
    if not text.strip() or folder.resolve() not in path.parents:
        raise problem
    return ForeignFile(path)


@dataclass(kw_only=True, eq=False)
class ImportJob:
    """One import, from the press of the button to its report."""

    file: ForeignFile
    child: ImportProcess
    results: list[dict[str, Any]] = field(default_factory=list)
    """Once it has ended: objects with run_id, path and report."""
    problem: str = ""
    """Why it failed, one sentence."""
    is_open: bool = True

    def progress(self) -> tuple[int, int]:
        """Bytes read and bytes in all; (0, 0) while nothing is known."""
        return self.child.progress() if self.is_open else (0, 0)


class ImportManager:
    """The imports of one server. Safe to call from any thread."""

    def __init__(self, runs_dir: Path, read_only: bool = False) -> None:
        """runs_dir: the folder that imported runs are written to. read_only: refuse every import."""
        self.runs_dir = runs_dir
        self.read_only = read_only
        self._jobs: list[ImportJob] = []
        self._detecting = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        delete_abandoned(Path(tempfile.gettempdir()))

    def detect(self, file: ForeignFile) -> str:
        """The name of the format of a file. Raises ExplorerError with one sentence."""
        self._check_allowed()
        if not self._detecting.acquire(timeout=DETECTION_TIMEOUT_S):
            raise BUSY
        try:
            return detect_in_child(file.path, DETECTION_TIMEOUT_S)
        except OSError as error:
            raise _not_started(error) from error
        finally:
            self._detecting.release()

    def start(self, file: ForeignFile, format: str, options: Mapping[str, str]) -> ImportJob:
        """Start an import. Raises ExplorerError in an app that only shows, or where too many run."""
        self._check_allowed()
        with self._lock:
            if len(self._jobs) >= AT_ONCE:
                raise BUSY
            try:
                child = ImportProcess(import_arguments(file.path, self.runs_dir, format, options))
            except OSError as error:
                raise _not_started(error) from error
            job = ImportJob(file=file, child=child)
            self._jobs.append(job)
        # Not a page's work: the visitor may have closed the tab by then.
        threading.Thread(target=self._watch, args=(job,), name="import", daemon=True).start()
        return job

    def delete_run(self, job: ImportJob, run_id: str) -> None:
        """Delete a run that this import has made; one that is gone already is no error.

        Raises ForeignFileError where the folder cannot be deleted, or for a run of another import.
        """
        self._check_allowed()
        if run_id not in [result["run_id"] for result in job.results]:
            raise ForeignFileError(f"{run_id}: is no run of this import; delete its folder on the host.")
        self._delete(run_id)
        job.results = [result for result in job.results if result["run_id"] != run_id]

    def delete_imported(self, run_id: str) -> None:
        """Delete any imported run of this app's folder; one that is gone already is no error.

        Raises ForeignFileError for a run that was trained or logged, and where the folder cannot be deleted.
        """
        self._check_allowed()
        folder = self.runs_dir / run_id
        if not folder.exists():
            return
        if folder.parent != self.runs_dir or folder.is_symlink() or not _is_imported(folder):
            raise ForeignFileError(f"{run_id}: is no imported run; delete its folder on the host.")
        self._delete(run_id)

    def _delete(self, run_id: str) -> None:
        try:
            with suppress(FileNotFoundError):
                # A hidden name takes it off every list at once; a file that resists then leaves no half run.
                hidden = self.runs_dir / f".deleted-{run_id}"
                (self.runs_dir / run_id).rename(hidden)
                shutil.rmtree(hidden)
        except OSError as error:
            raise ForeignFileError(f"{run_id}: cannot be deleted ({error.strerror}); try again.") from error

    def close(self) -> None:
        """Cancel every import, wait for its child, and delete the uploads.

        The server ends by a signal: finalizers of temporary folders do not run then.
        """
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.child.cancel()
        for file in list(_uploads):
            file.delete()

    def _watch(self, job: ImportJob) -> None:
        try:
            job.results = job.child.results()
        except ForeignFileError as error:
            job.problem = str(error)
        except Exception as error:  # e.g. a full disk cut the output: the place must be free again
            job.problem = f"The result of the import cannot be read ({error}); try again."
        finally:
            job.child.close()
            if not job.problem:
                job.file.delete()
            with self._lock:
                self._jobs.remove(job)
            job.is_open = False

    def _check_allowed(self) -> None:
        if self.read_only:
            raise ForeignFileError(READ_ONLY)


def _is_imported(folder: Path) -> bool:
    try:
        return RunFolder(folder).info.source.startswith("imported:")
    except ExplorerError:
        return False


def _not_started(error: OSError) -> ForeignFileError:
    return ForeignFileError(f"The import cannot be started ({error.strerror}); try again.")
