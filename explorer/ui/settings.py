"""Where the app finds things: the checkout, the run folders and the index."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "pages"
ICON = Path(__file__).with_name("icon.png")
"""The page's icon, from here: Streamlit would fetch one of its own from another site."""
LESSONS = ROOT / "lessons"
EXPERIMENTS = ROOT / "experiments"
SHIPPED_RUNS = ROOT / "data" / "runs"
RUNS_VARIABLE = "EXPLORER_RUNS"
SHIPPED_VARIABLE = "EXPLORER_SHIPPED_RUNS"
INDEX_VARIABLE = "EXPLORER_INDEX"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Folders and files of one server."""

    own_runs: Path
    """New runs go here."""
    shipped_runs: Path
    """Runs that come with the project; read only."""
    index: Path | None
    """The DuckDB index; None is the usual place in the user's cache folder."""

    @classmethod
    def from_environment(cls) -> "Settings":
        """EXPLORER_RUNS, EXPLORER_SHIPPED_RUNS and EXPLORER_INDEX, else the checkout's own folders."""
        index = os.environ.get(INDEX_VARIABLE)
        return cls(
            own_runs=Path(os.environ.get(RUNS_VARIABLE) or ROOT / "runs").absolute(),
            shipped_runs=Path(os.environ.get(SHIPPED_VARIABLE) or SHIPPED_RUNS).absolute(),
            index=Path(index).absolute() if index else None,
        )

    @property
    def runs_dirs(self) -> tuple[Path, Path]:
        """Own runs first: of two runs with one id the own one counts."""
        return (self.own_runs, self.shipped_runs)
