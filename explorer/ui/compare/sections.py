"""The sections of the Compare page: an index with links, headings, and sections that open on demand."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question, slug
from explorer.metrics.glossary import tip
from explorer.ui.shared import display, panels, store, urls

TITLES = {
    "metrics": "Final metrics",
    "events": "Events",
    "loads": "Expert load over training",
    "biases": "Bias trajectories",
    "max-vio": "Imbalance (MaxVio)",
    "perplexity": "Perplexity",
    "differences": "Paired differences between arms",
    "plane": "Perplexity against imbalance",
    "gradients": "Router gradients: language loss and auxiliary loss",
    "margin": "Router margin",
    "churn": "Routing churn between probes",
}
"""Anchor -> heading, in the order of the page."""
OF_LAYERS = ("loads", "biases")
"""Sections that need experts."""


def index(*, with_layers: bool) -> None:
    """Links to the sections of the page."""
    shown = [anchor for anchor in TITLES if with_layers or anchor not in OF_LAYERS]
    with st.container(key="controls-index"):
        st.markdown(" · ".join(f"[{TITLES[anchor].split(':')[0]}](#{anchor})" for anchor in shown))


def heading(anchor: str, term: str | None = None) -> None:
    """The heading of a section; term: its entry in the glossary."""
    st.subheader(TITLES[anchor], anchor=anchor, help=None if term is None else tip(term))


def unfolded(anchor: str, label: str, questions: Sequence[Question]) -> DeltaGenerator | None:
    """Where to draw the charts of a section that starts closed; None while it is closed.

    A lecture has no controls, and a link may ask for one of its panels: both find it open.
    """
    for question in questions:
        panels.fold(slug(question.key), partial(store.answer, question))
    if display.is_lecture() or {slug(question.key) for question in questions} & set(
        urls.asked(display.PANEL)
    ):
        return st.container()
    place = st.expander(label, key=f"section_{anchor}", type="compact", on_change="rerun")
    return place if place.open else None
