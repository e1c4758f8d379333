"""Parts of the Microscope below the text: they follow another layer or expert once they come into sight.

A click above the text is answered by the text and its token, which are in sight. What lies further down is
drawn when the visitor scrolls to it, or at once where it is in sight already; a browser that watches has to
say so first (`components/in_sight`), and until then everything is drawn at once. An export builds what waits.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question, slug
from explorer.ui.components.in_sight import in_sight
from explorer.ui.shared import panels, show, state, store

EXPERT, DOMAINS, SATURATION, REPLAY, AGREEMENT = "expert", "domains", "saturation", "replay", "agreement"
PARTS = (EXPERT, DOMAINS, SATURATION, REPLAY, AGREEMENT)
WATCH = "microscope_watch"
"""The fragment of the watcher."""
_IS_WATCHED = state.Slot[bool]("microscope_watched", False)
_WAITING = state.Memo[set[str]]("microscope_waiting", set)
Questions = Callable[[str], Iterable[Question]]
"""The questions of a part, for what the controls say now."""


def fragment_of(part: str) -> str:
    """Key of the fragment that draws a part, and of its place."""
    return f"microscope_{part}"


def follow(*fragments: str, parts: Iterable[str] = PARTS) -> NoReturn:
    """The end of a callback: run these fragments, and the parts once they are in sight."""
    if not _IS_WATCHED.get():
        st.rerun([*fragments, *map(fragment_of, parts)])
    _WAITING.get().update(parts)
    st.rerun([*fragments, WATCH])


def place(part: str, questions: Iterable[Question]) -> DeltaGenerator:
    """Where a part is drawn, with these questions; it does not wait any longer."""
    _WAITING.get().discard(part)
    _enter(questions)
    return show.steady(fragment_of(part))


@st.fragment(key=WATCH)
def watcher(questions: Questions) -> None:
    """The watcher; the panels of parts that wait are built by an export."""
    waiting = _WAITING.get()
    for part in PARTS:
        if part in waiting:
            _enter(questions(part))
    in_sight(
        {part: f"st-key-{fragment_of(part)}" for part in PARTS},
        waiting=waiting,
        known=_IS_WATCHED.get(),
        key="microscope_in_sight",
        on_report=_draw,
    )


def _draw(parts: list[str]) -> None:
    """Draw the parts that came into sight."""
    _IS_WATCHED.put(True)
    waiting = _WAITING.get()
    seen = [part for part in parts if part in waiting]
    waiting.difference_update(seen)
    st.rerun([*map(fragment_of, seen), WATCH])


def _enter(questions: Iterable[Question]) -> None:
    for question in questions:
        panels.wait(slug(question.key), partial(store.answer, question))
