"""The run folders that a command line names."""

from collections.abc import Sequence
from pathlib import Path

from explorer.cli.listing import runs_folders
from explorer.errors import ConfigError
from explorer.recording import RunFolder, list_runs


def run_paths(texts: Sequence[str], folders: list[Path] | None) -> list[Path]:
    """The folders of the runs: ids or paths as given, else every run. Raises ConfigError."""
    searched = runs_folders(folders)
    if not texts:
        runs = [listing for listing in list_runs(*searched) if not listing.is_group]
        return [run.path for run in sorted(runs, key=lambda run: run.run_id)]
    return list(dict.fromkeys(_run_path(text, searched) for text in texts))


def _run_path(text: str, folders: Sequence[Path]) -> Path:
    for path in (Path(text), *(folder / text for folder in folders)):
        try:
            if (path / "run.json").exists() or (path / "status.json").exists():
                return RunFolder(path).path  # with its own name, where it is given as "."
        except OSError:  # no file name at all, such as one of 5,000 letters
            continue
    searched = ", ".join(map(str, folders))
    raise ConfigError(
        "RUN", text[:200], f"is not a run folder, and no run of this id lies in {searched}",
        "give an id that `python -m explorer runs` lists, or the path of a run folder",
    )  # fmt: skip
