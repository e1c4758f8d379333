"""Which runs there are."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from explorer.errors import UnreadableRunError
from explorer.recording.info import RunInfo
from explorer.recording.reader import RunFolder
from explorer.recording.status import RunStatus


@dataclass(frozen=True, kw_only=True)
class RunListing:
    """One run folder: what it is and how it stands, or why it cannot be read."""

    path: Path
    run_id: str
    info: RunInfo | None = None
    status: RunStatus | None = None
    problem: str | None = None


def list_runs(*folders: Path) -> list[RunListing]:
    """The runs in these folders, newest first; damaged ones are listed with the reason.

    Hidden folders and stray files are passed over and a folder that does not exist is empty. Of two
    runs with one id the first folder's counts.
    """
    found: list[RunListing] = []
    seen: dict[str, Path] = {}
    for folder in folders:
        for path in _run_folders(folder):
            listing = _listing(path)
            if path.name in seen:
                problem = (
                    f"{path.name} is also in {seen[path.name].parent}, which counts; rename or delete one."
                )
                listing = RunListing(path=path, run_id=path.name, problem=problem)
            seen.setdefault(path.name, path)
            found.append(listing)
    return sorted(found, key=lambda listing: (_created(listing), listing.run_id), reverse=True)


def _run_folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())
    except OSError:
        return []


def _listing(path: Path) -> RunListing:
    run = RunFolder(path)
    try:
        return RunListing(path=path, run_id=path.name, info=run.info, status=run.status)
    except UnreadableRunError as error:
        return RunListing(path=path, run_id=path.name, problem=str(error))


def _created(listing: RunListing) -> float:
    try:
        if listing.info is not None:
            return datetime.fromisoformat(listing.info.created_at).timestamp()
        return listing.path.stat().st_mtime
    except (OSError, ValueError, TypeError):
        return 0.0
