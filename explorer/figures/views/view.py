"""A view is what a page shows for one address, so that a command opens the same panels without a browser."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from explorer.figures.arms import Run
from explorer.figures.panel import Question
from explorer.figures.store import Store

Query = Mapping[str, Sequence[str]]
"""Parameters of an address, each with every value that it has there."""


@dataclass(frozen=True, kw_only=True)
class OpenView:
    """The questions of a page, in the order of the page."""

    title: str
    questions: tuple[Question, ...]
    notices: tuple[str, ...] = ()
    """Mistakes of the address, one sentence each; defaults replace them."""
    query: Query = field(default_factory=dict)
    """The address that opens this view again, defaults included: today's default may not be tomorrow's."""
    playhead: float | None = None
    """The step of the page's player, for panels whose chart follows it."""


Opener = Callable[[Store, Sequence[Run], Query], OpenView]
"""`open_view(store, runs, query)` of each module here; `runs` are all that the index knows, newest first."""
