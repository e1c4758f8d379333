"""Sections that start closed: their charts are built when they are opened or exported."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question, slug
from explorer.ui.shared import display, panels, store, urls


def body_if_open(
    anchor: str, label: str, questions: Sequence[Question], *, fragment: str
) -> DeltaGenerator | None:
    """Where to draw the charts of a section that starts closed; None while it is closed.

    A link to one of its panels opens the section. A lecture leaves it closed, like the page itself, and shows
    the line that opens it (`display`).

    fragment: key of the fragment that calls this. A callback of the section names it: the page of Streamlit
    sends changes of one moment in one message that names the fragment of the first, so of several sections
    opened at once the others would stay empty.
    """
    for question in questions:
        panels.fold(slug(question.key), partial(store.answer, question))
    if {slug(question.key) for question in questions} & set(urls.values_of(display.PANEL)):
        return st.container()
    place = st.expander(label, key=f"section_{anchor}", type="compact", on_change=st.rerun, args=(fragment,))
    return place if place.open else None
