"""One module per page: its settings, and the questions that it asks for an address."""

from importlib import import_module

from explorer.errors import one_of
from explorer.figures.views.view import Opener

NAMES = (
    "overview",
    "lessons",
    "compare",
    "replay",
    "microscope",
    "serving",
    "playground",
    "theory",
    "gallery",
    "evidence",
)
"""Views in the order of the app's pages; `glossary` and `train` show nothing of recorded runs."""


def opener(name: str) -> Opener:
    """The function that opens a view. Raises ConfigError for an unknown name."""
    one_of("--view", name, NAMES)
    opened: Opener = import_module(f"explorer.figures.views.{name}").open_view
    return opened
