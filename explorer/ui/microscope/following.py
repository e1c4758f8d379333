"""Parts of the Microscope below the text, each a fragment: a click draws those that depend on it."""

from collections.abc import Iterable
from functools import partial
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question, slug
from explorer.ui.shared import panels, show, store

EXPERT, DOMAINS, SATURATION, REPLAY, AGREEMENT = "expert", "domains", "saturation", "replay", "agreement"
PARTS = (EXPERT, DOMAINS, SATURATION, REPLAY, AGREEMENT)


def fragment_of(part: str) -> str:
    """Key of the fragment that draws a part, and of its place."""
    return f"microscope_{part}"


def follow(*fragments: str, parts: Iterable[str] = PARTS) -> NoReturn:
    """The end of a callback: run these fragments and these parts."""
    st.rerun([*fragments, *map(fragment_of, parts)])


def place(part: str, questions: Iterable[Question]) -> DeltaGenerator:
    """Where a part is drawn, with these questions."""
    for question in questions:
        panels.wait(slug(question.key), partial(store.answer, question))
    return show.steady(fragment_of(part))
