"""The figures of the page that is shown: what an export takes and what a link can single out.

Every figure that `show.figure` draws is entered here. A full run of the page begins anew; a fragment
that runs alone replaces its own figures.
"""

from dataclasses import dataclass, field
from urllib.parse import urlencode

import streamlit as st

from explorer.export.panel import Panel

KEY = "page_figures"


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
    query: str = ""
    """Query of the address when a figure was drawn last."""

    @property
    def permalink(self) -> str:
        """Path and query that open this view again, below the app's own address."""
        return f"/{self.page}" + (f"?{self.query}" if self.query else "")


def begin(page: str, title: str) -> PageFigures:
    """A page is about to be drawn from its top."""
    figures = PageFigures(page=page, title=title)
    st.session_state[KEY] = figures
    return figures


def shown() -> PageFigures:
    """The figures of this page so far."""
    figures: PageFigures = st.session_state.get(KEY) or begin("", "")
    return figures


def add(panel: Panel) -> None:
    """Enter a figure, in the place that it had."""
    figures = shown()
    figures.panels[panel.key] = panel
    figures.query = urlencode(
        [(key, value) for key in st.query_params for value in st.query_params.get_all(key)]
    )
