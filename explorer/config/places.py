"""Where checkout and index lie, and what tells that a run has changed; loads none of what reads them."""

import os
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout; an installed package has only `explorer` in it."""
SHIPPED_RUNS = ROOT / "data" / "runs"
WATCHED = ("", "status.json", "manifest.json", "attempts.json", "run.json")
"""What changes whenever a run does: its folder and these files in it."""


class NoHomeError(Exception):
    """There is no default folder for the index; the argument is the message for users."""


def default_path() -> Path:
    """`explorer.duckdb` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache).

    Raises NoHomeError if the user has no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():  # the specification says to ignore any other
        return Path(base) / "moe-routing-explorer" / "explorer.duckdb"
    try:
        return Path.home() / ".cache" / "moe-routing-explorer" / "explorer.duckdb"
    except RuntimeError as error:
        raise NoHomeError(
            "The user has no home folder, so a private temporary index is used, which is rebuilt at every "
            "start; set XDG_CACHE_HOME to a writable folder."
        ) from error


def signature(path: Path, names: Iterable[str] = WATCHED) -> tuple[int, ...]:
    """Modification times and sizes that change whenever a run folder does; 0 for missing files."""
    result: list[int] = []
    for name in names:
        try:
            stat = (path / name).stat() if name else path.stat()
            result += (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            result += (0, 0, 0)
    return tuple(result)


def table_signature(path: Path) -> tuple[int, ...]:
    """The same for table files: restoring one in place changes nothing else in its folder."""
    try:
        names = sorted(file.name for file in path.iterdir() if file.suffix == ".parquet")
    except OSError:
        return ()
    return signature(path, names)
