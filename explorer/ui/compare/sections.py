"""The sections of the Compare page: an index with links, headings, and sections that open on demand."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question
from explorer.figures.views import counterfactual_choice
from explorer.metrics.glossary import tip
from explorer.ui.shared import folded

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
    "agreement": "Agreement of two routings",
    "replay": counterfactual_choice.HEADING,
}
"""Anchor -> heading, in the order of the page."""
OF_LAYERS = ("loads", "biases")
"""Sections that need experts."""


def index(*, with_layers: bool) -> None:
    """Links to the sections of the page."""
    anchors = [anchor for anchor in TITLES if with_layers or anchor not in OF_LAYERS]
    with st.container(key="index"):
        st.markdown(" · ".join(f"[{TITLES[anchor].split(':')[0]}](#{anchor})" for anchor in anchors))


def heading(anchor: str, term: str | None = None) -> None:
    """The heading of a section; term: its entry in the glossary."""
    st.subheader(TITLES[anchor], anchor=anchor, help=None if term is None else tip(term))


def fragment_of(anchor: str) -> str:
    """Key of the fragment that draws a section which starts closed."""
    return f"compare_{anchor}"


def body_if_open(anchor: str, label: str, questions: Sequence[Question]) -> DeltaGenerator | None:
    """`folded.body_if_open` of a section whose fragment has the key `fragment_of(anchor)`."""
    return folded.body_if_open(anchor, label, questions, fragment=fragment_of(anchor))
