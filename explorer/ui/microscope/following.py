"""Parts of the Microscope below the text, each a fragment: a click draws those that depend on it."""

from collections.abc import Iterable
from functools import partial
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.figures.panel import Question, slug
from explorer.ui.shared import panels, store

EXPERT, DOMAINS, SATURATION, REPLAY, AGREEMENT = "expert", "domains", "saturation", "replay", "agreement"
HEIGHTS = {EXPERT: 1220, DOMAINS: 1130, SATURATION: 490, REPLAY: 80, AGREEMENT: 80}
"""Part -> height in pixels until the browser has laid it out, about that on a page of usual width."""
PANEL_HEIGHT = 410
"""The same for a panel of the expert."""
PARTS = tuple(HEIGHTS)
_FULL_SCREEN = 'body[style*="overflow: hidden"] *'
"""Everything while an element fills the window: that element must not be confined to its place."""


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
    return st.container(key=fragment_of(part))


def style_parts() -> None:
    """Let the browser skip parts far from the window. Outside of the fragments, so that it is sent once."""
    places = ", ".join(f".st-key-{fragment_of(part)}" for part in PARTS)
    panels_of_expert = f".st-key-{fragment_of(EXPERT)} [class*=st-key-panel-]"
    heights = {f".st-key-{fragment_of(part)}": height for part, height in HEIGHTS.items()}
    sizes = "".join(
        f"{place} {{ contain-intrinsic-height: auto {height}px; }}"
        for place, height in {**heights, panels_of_expert: PANEL_HEIGHT}.items()
    )
    st.html(
        f"<style>:is({places}) [data-stale] {{ opacity: 1 !important; }}"
        f":is({places}, {panels_of_expert}):not({_FULL_SCREEN}) {{ "
        f"content-visibility: auto; overflow-clip-margin: 8px; }} {sizes}</style>"
    )
