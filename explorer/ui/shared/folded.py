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

    fragment: key of the fragment that calls this; the callback of the section reruns it by this key.
    Streamlit's page sends simultaneous changes in one message that names only the fragment of the first, so
    of several sections opened at once, all but the first would otherwise stay empty.
    """
    for question in questions:
        panels.fold(slug(question.key), partial(store.answer, question))
    if {slug(question.key) for question in questions} & set(urls.values_of(display.PANEL)):
        return st.container()
    place = st.expander(label, key=f"section_{anchor}", type="compact", on_change=st.rerun, args=(fragment,))
    return place if place.open else None
