"""A page without a browser: its figures, exactly as the app shows them, for the command line.

The page script runs in Streamlit's own test harness with the query that an address would carry.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit.logger
from streamlit.testing.v1 import AppTest

from explorer.errors import ConfigError, ExplorerError
from explorer.ui.server.services import services, shut_down
from explorer.ui.server.settings import PAGES, RUNS_VARIABLE
from explorer.ui.shared.panels import KEY, PageFigures

MAIN = Path(__file__).with_name("main.py")
TIMEOUT_S = 600.0
"""Not a goal: a first reading of many runs, then one page, on a slow machine."""
DEFAULT = "overview"
Query = Mapping[str, str | Sequence[str]]

# Before anything that warns on import.
streamlit.logger.set_log_level(logging.ERROR)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page after its script has run."""

    figures: PageFigures
    said: list[str]
    """Its own errors and warnings."""


def views() -> list[str]:
    """Names of the pages."""
    return sorted(file.stem for file in PAGES.glob("*.py"))


def use_runs(folder: Path | None) -> None:
    """Take own runs from this folder, for the rest of the process."""
    if folder is not None:
        os.environ[RUNS_VARIABLE] = str(folder.absolute())


def read_runs() -> None:
    """Bring the index up to date; a running app may hold it, then a private one is made."""
    owner = services()
    end = time.monotonic() + TIMEOUT_S
    while owner.ingest.rounds == 0 and time.monotonic() < end:
        time.sleep(0.02)
    if owner.ingest.rounds == 0:
        raise ExplorerError(owner.ingest.problem or f"the runs could not be read within {TIMEOUT_S:.0f} s.")


def open_page(view: str, query: Query) -> "Opened":
    """Run a page once with this query. Raises ConfigError for an unknown page, ExplorerError if it fails."""
    if view not in views():
        raise ConfigError("--view", view, "is not a page", f"choose one of {', '.join(views())}")
    app = AppTest.from_file(str(MAIN), default_timeout=TIMEOUT_S)
    for name, value in query.items():
        app.query_params[name] = value if isinstance(value, str) else list(value)
    if view != DEFAULT:
        # Known before the first run, as a deep link is.
        app.switch_page(f"../../pages/{view}.py")
    app.run()
    if app.exception:
        raise ExplorerError(f"the page {view} failed: {app.exception[0].value}")
    said = [str(element.value) for kind in (app.error, app.warning) for element in kind]
    figures = app.session_state[KEY]
    return Opened(figures=figures, said=said)


def close() -> None:
    """Give the index back."""
    shut_down()
