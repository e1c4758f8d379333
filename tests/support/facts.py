"""Numbers of lessons, as the app fills them in."""

from explorer.figures.facts import catalogue
from explorer.figures.facts.recorded import RecordedRuns
from explorer.ui.shared import cached
from explorer.ui.shared.store import STORE


def value_of(written: str) -> float | int | str:
    """The value of a placeholder, from the runs of the open app. Raises MissingRun without the run."""
    return catalogue.value_of(RecordedRuns(STORE, tuple(cached.list_runs())), written)


def fact(written: str) -> float:
    """The value of a placeholder that is a number."""
    return float(value_of(written))
