"""The figures of the current page: what an export takes and what a link can open alone.

Every figure that `show.figure` draws is entered here. A full run of the page starts over; a fragment
that runs alone replaces its own figures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import streamlit as st

from explorer.export.vega import follows_player
from explorer.figures.panel import Missing, Panel
from explorer.figures.panel import slug as slug
from explorer.ui.shared import state, urls

if TYPE_CHECKING:
    from explorer.export.film import Film

KEY = "page_figures"
PICKER = "runs"


@dataclass(kw_only=True)
class PageFigures:
    """The figures of one page as it stands in one browser tab.

    Mutable on purpose: a download is made when it is asked for, outside of a script run, and must then find
    the figures that fragments have drawn since.
    """

    page: str
    """Path of the page in the address, empty for the Overview."""
    title: str
    panels: dict[str, Panel] = field(default_factory=dict)
    later: dict[str, Callable[[], Panel]] = field(default_factory=dict)
    """Figures that are built only when they are exported."""
    folded: dict[str, Callable[[], Panel | Missing]] = field(default_factory=dict)
    """Figures of sections that may be closed, in the page's order: built when they are opened or exported."""
    films: "dict[str, Callable[[], Film]]" = field(default_factory=dict)
    """Panels that can be exported as an animation, by key."""
    playhead: float | None = None
    """Step of the player, for panels that follow it in the browser."""
    bound: tuple[str, ...] = ()
    """Keys of the page's own controls, which a link for later must name (`bind`)."""
    query: str = ""
    """Query of the address when a figure was drawn last, with the bound keys."""

    @property
    def permalink(self) -> str:
        """Path and query that open this view again, below the app's own address."""
        return f"/{self.page}" + (f"?{self.query}" if self.query else "")

    @property
    def view(self) -> str:
        return self.page or "overview"

    @property
    def keys(self) -> list[str]:
        """Every figure, those that are built on export included."""
        open_keys = (key for key in self.panels if key not in self.later and key not in self.folded)
        return [*self.later, *open_keys, *self.folded]

    def present_keys(self) -> Iterator[str]:
        """Every figure that the runs have data for; those of closed sections are built for it."""
        for key in self.keys:
            if key in self.panels or key not in self.folded or isinstance(self.folded[key](), Panel):
                yield key

    def get(self, key: str) -> Panel:
        """One figure as it is now. Raises LookupError where the runs hold nothing to draw."""
        panel = self.later[key]() if key in self.later else self.panels.get(key) or self._unfolded(key)
        if panel.playhead is None and self.playhead is not None and follows_player(panel.spec):
            return replace(panel, playhead=self.playhead)
        return panel

    def _unfolded(self, key: str) -> Panel:
        answer = self.folded[key]()
        if isinstance(answer, Missing):
            raise LookupError(answer.reason)
        return answer


def begin(page: str, title: str) -> PageFigures:
    """A page is about to be drawn from its top."""
    figures = PageFigures(page=page, title=title)
    state.put(KEY, figures)
    return figures


def draw_again() -> None:
    """A fragment with all figures of the page is about to be drawn: what has no data now is not kept."""
    figures = page_figures()
    for mapping in (figures.panels, figures.later, figures.folded, figures.films):
        mapping.clear()


def page_figures() -> PageFigures:
    """The figures of this page so far."""
    figures: PageFigures = state.value(KEY) or begin("", "")
    return figures


def bind(*keys: str) -> None:
    """Name the controls that belong into a link even at their defaults.

    An address leaves those out, and what is the default today (the last step, the newest run) need not be it
    tomorrow.
    """
    page_figures().bound = keys


def add(panel: Panel) -> None:
    """Enter a figure, in the place that it had."""
    _entered().panels[panel.key] = panel


def add_later(key: str, build: Callable[[], Panel]) -> None:
    """Enter a figure that is built when it is exported; `build` runs outside of a script run."""
    _entered().later[key] = build


def fold(key: str, build: Callable[[], Panel | Missing]) -> None:
    """Enter a figure of a section that may be closed; `build` may run outside of a script run."""
    _entered().folded[key] = build


def wait(key: str, build: Callable[[], Panel | Missing]) -> None:
    """Enter a figure that is about to be drawn; an export builds it anew."""
    figures = _entered()
    figures.panels.pop(key, None)
    figures.folded[key] = build


def add_film(key: str, build: "Callable[[], Film]") -> None:
    """Enter an animation; `build` runs outside of a script run."""
    _entered().films[key] = build


def _entered() -> PageFigures:
    figures = page_figures()
    figures.query = _query(figures.bound)
    return figures


def _query(bound: tuple[str, ...]) -> str:
    """What the address says, and what it leaves out.

    What no control has taken over may be of any length, and is shortened: it means nothing, and a figure's
    footer and its files repeat it.
    """
    named = [key for key in st.query_params if len(key) <= urls.MOST_LETTERS][: urls.MOST_VALUES]
    query: list[tuple[str, str]] = []
    for key in dict.fromkeys([PICKER, *named, *bound]):
        current = _values(state.value(key))
        values = urls.values_of(key) or current
        query += [(key, value if value in current else value[: urls.MOST_LETTERS]) for value in values]
    return urlencode(query)


def _values(value: Any) -> list[str]:
    if not isinstance(value, str | bool | int | float | list | tuple):
        return []
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
