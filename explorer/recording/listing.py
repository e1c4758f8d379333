"""List the runs in folders."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from explorer.errors import UnreadableRunError
from explorer.recording.info import RUN_FILE, RunInfo
from explorer.recording.parts import ATTEMPTS_FILE, MANIFEST_FILE, parse_part
from explorer.recording.reader import RunFolder
from explorer.recording.status import STATUS_FILE, RunStatus

T = TypeVar("T")
DOCUMENTS = (STATUS_FILE, ATTEMPTS_FILE, MANIFEST_FILE)
NAMED = 3
"""Maximum number of runs that the message about a folder names."""


@dataclass(frozen=True, kw_only=True)
class RunListing:
    """One run folder: its description and status, or why it cannot be read."""

    path: Path
    run_id: str
    info: RunInfo | None = None
    status: RunStatus | None = None
    problem: str | None = None
    is_group: bool = False
    """Whether it is a folder of runs instead of a run; `problem` says how to open them."""


def list_runs(*folders: Path) -> list[RunListing]:
    """The runs in these folders, newest first; damaged ones are listed with the reason.

    Hidden folders, stray files and folders without a trace of a run are skipped; a folder of runs is
    listed with a message on how to open them, and a missing folder is empty. Of two runs with the same
    id, the one in the first folder is listed.
    """
    listings: list[RunListing] = []
    seen: dict[str, Path] = {}
    for folder in folders:
        for path in _folders(folder):
            listing = result_or_problem(path, partial(_listing, path))
            if listing is None:
                continue
            if isinstance(listing, str):
                listing = RunListing(path=path, run_id=printable(path.name), problem=listing)
            if listing.run_id in seen:
                problem = (
                    f"{path}: {listing.run_id} is also in {seen[listing.run_id].parent}, which counts; "
                    f"to list both, rename this folder and write its new name as run_id in its {RUN_FILE}."
                )
                listing = RunListing(path=path, run_id=listing.run_id, problem=problem)
            seen.setdefault(listing.run_id, path)
            listings.append(listing)
    return sorted(listings, key=lambda listing: (_created(listing), listing.run_id), reverse=True)


def result_or_problem(path: Path, read: Callable[[], T]) -> T | str:
    """The result of `read`, or one sentence on why the run at `path` cannot be read.

    A safety net below the schema: a failure in one folder must not hide the others. That includes a
    panic of Polars, which is not an Exception.
    """
    try:
        return read()
    except UnreadableRunError as error:
        return printable(str(error))
    except BaseException as error:
        if not is_fault_of_data(error):
            raise
        return unexpected_problem(path, error)


def is_fault_of_data(error: BaseException) -> bool:
    """Whether an error is due to the data, not an interruption by the user or the system."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def unexpected_problem(path: Path, error: BaseException) -> str:
    """The message for an unexpected error."""
    where = printable(str(path))
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}".rstrip(".: ")
    if isinstance(error, OSError) and error.strerror:
        return f"{where} cannot be read ({error.strerror}); check its permissions, or restore it from a copy."
    return f"{where} cannot be read ({reason}); restore it from a copy."


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())
    except OSError:
        return []


def printable(name: str) -> str:
    """A path as printable text; a name that is not Unicode can be neither stored nor printed unchanged."""
    return name.encode("utf-8", "backslashreplace").decode()


def _listing(path: Path) -> RunListing | None:
    """The listing of a folder; None if it is neither a run nor holds any."""
    run_id = printable(path.name)
    if not (path / RUN_FILE).exists() and not _has_traces(path):
        problem = _holds_runs(path)
        if problem is None:
            return None
        return RunListing(path=path, run_id=run_id, problem=problem, is_group=True)
    run = RunFolder(path)
    return RunListing(path=path, run_id=run_id, info=run.info, status=run.status)


def _has_traces(path: Path) -> bool:
    """Whether a folder without run.json was a run: it has another document of a run, or a part."""
    if any((path / name).exists() for name in DOCUMENTS):
        return True
    return any(parse_part(file) is not None for file in path.iterdir())


def _holds_runs(path: Path) -> str | None:
    """The message for a folder that groups runs, at most two levels down; None for any other."""
    for group in (path, *_folders(path)):
        runs = [run.name for run in _folders(group) if (run / RUN_FILE).exists()]
        if runs:
            more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
            return (
                f"{group} is not a run but holds {', '.join(runs[:NAMED])}{more}; to list what is in it, add "
                f"--runs {group}, or move the runs out of it."
            )
    return None


def _created(listing: RunListing) -> float:
    try:
        if listing.info is not None:
            return datetime.fromisoformat(listing.info.created_at).timestamp()
        return listing.path.stat().st_mtime
    except (OSError, ValueError, TypeError, OverflowError):
        return 0.0
