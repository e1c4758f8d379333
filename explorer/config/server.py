"""Where one server finds its run folders and its index, and what its visitors may do."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from explorer.config.limits import Limits
from explorer.config.places import ROOT, SHIPPED_RUNS
from explorer.errors import ConfigError

RUNS_VARIABLE = "EXPLORER_RUNS"
SHIPPED_VARIABLE = "EXPLORER_SHIPPED_RUNS"
INDEX_VARIABLE = "EXPLORER_INDEX"
IMPORT_VARIABLE = "EXPLORER_IMPORT_DIR"
READ_ONLY_VARIABLE = "EXPLORER_READ_ONLY"
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Folders and files of one server."""

    own_runs: Path
    """New runs go here."""
    shipped_runs: Path
    """Runs that come with the project; read only."""
    index: Path | None
    """The DuckDB index; None is the usual place in the user's cache folder."""
    read_only: bool = False
    """Read-only: visitors can neither train nor switch rules."""
    limits: Limits = field(default_factory=Limits)
    """What visitors may train."""
    import_dir: Path | None = None
    """Visitors may import the files below it; None: uploads alone."""

    @classmethod
    def from_environment(cls) -> "Settings":
        """EXPLORER_RUNS, EXPLORER_SHIPPED_RUNS, EXPLORER_INDEX, EXPLORER_READ_ONLY, EXPLORER_LIMITS and
        EXPLORER_IMPORT_DIR, else the checkout's own folders, training allowed.

        Raises ConfigError for a value that means nothing.
        """
        index = os.environ.get(INDEX_VARIABLE)
        return cls(
            own_runs=Path(os.environ.get(RUNS_VARIABLE) or ROOT / "runs").absolute(),
            shipped_runs=Path(os.environ.get(SHIPPED_VARIABLE) or SHIPPED_RUNS).absolute(),
            index=Path(index).absolute() if index else None,
            read_only=_flag(READ_ONLY_VARIABLE),
            limits=Limits.from_environment(),
            import_dir=_folder(IMPORT_VARIABLE),
        )

    @property
    def runs_dirs(self) -> tuple[Path, Path]:
        """Own runs first: of two runs with one id the own one counts."""
        return (self.own_runs, self.shipped_runs)


def _folder(name: str) -> Path | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not Path(text).is_dir():
        raise ConfigError(name, text, "is not a folder", "name the folder whose files visitors may import")
    return Path(text).absolute()


def _flag(name: str) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text not in YES + NO:
        raise ConfigError(name, text, "must be 1 or 0", f"write {name}=1 for a read-only app")
    return text in YES
