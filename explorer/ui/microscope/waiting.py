"""Parts of the Microscope below the text: they follow another layer or expert once they come into sight.

The browser reports which parts are in sight (`components/in_sight`). A click draws the text and those parts;
the others wait until the visitor scrolls to them. Before the first report everything is drawn at once. An
export builds what waits.
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
_IN_SIGHT = state.Slot[list[str] | None]("microscope_in_sight_now", None)
"""The last report; None before the first."""
_WAITING = state.Memo[set[str]]("microscope_waiting", set)
Questions = Callable[[str], Iterable[Question]]
"""The questions of a part, for what the controls say now."""


def fragment_of(part: str) -> str:
    """Key of the fragment that draws a part, and of its place."""
    return f"microscope_{part}"


def follow(*fragments: str, parts: Iterable[str] = PARTS) -> NoReturn:
    """The end of a callback: run these fragments and the parts in sight; the other parts wait."""
    seen = _IN_SIGHT.get()
    ready = [part for part in parts if seen is None or part in seen]
    _WAITING.get().update(part for part in parts if part not in ready)
    st.rerun([*fragments, *map(fragment_of, ready), WATCH])


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
        seen=_IN_SIGHT.get(),
        key="microscope_in_sight",
        on_report=_draw,
    )


def _draw(seen: list[str]) -> None:
    """Draw the parts that waited and are in sight; each waits until it is drawn, since a run may be cut short."""
    _IN_SIGHT.put(seen)
    waiting = _WAITING.get()
    st.rerun([*(fragment_of(part) for part in seen if part in waiting), WATCH])


def _enter(questions: Iterable[Question]) -> None:
    for question in questions:
        panels.wait(slug(question.key), partial(store.answer, question))
