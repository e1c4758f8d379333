"""The recorded runs, as the facts of lessons and experiments take them."""

from explorer.figures.facts.recorded import RecordedRuns
from explorer.ui.shared import picker, store


def recorded_runs() -> RecordedRuns:
    """Every run that the index knew when this page was opened, with the app's store."""
    return RecordedRuns(store.STORE, tuple(picker.all_runs()))
