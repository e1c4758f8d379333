"""The parts of the Playground that are drawn apart from each other, and which control draws which."""

import streamlit as st

from explorer.figures.simulation import SIDES
from explorer.figures.views.playground_choices import KEYS
from explorer.ui.shared import urls

ALL = "playground_all"
SITUATION, PICTURE, ANSWERS = "playground_situation", "playground_max_vio", "playground_answers"
RATES = {side: f"playground_rate_{side}" for side in SIDES}
"""Side -> its rate, its formula and its change of rule."""
FORMS = {side: f"playground_form_{side}" for side in SIDES}
"""Side -> the form for a change of rule, which begins at the playhead."""


def draw_all() -> None:
    """The end of a callback of a control that other controls depend on."""
    st.rerun(ALL)


def draw_rate(side: str) -> None:
    """The end of a callback of a number in the rule of this side."""
    _draw(PICTURE, SITUATION, RATES[side], ANSWERS)


def draw_playhead() -> None:
    """The end of the callback of the playhead."""
    _draw(PICTURE, *FORMS.values(), ANSWERS)


def _draw(*names: str) -> None:
    """These parts, or all while the page says something about the address that may now be settled."""
    st.rerun(ALL if urls.has_notices(*KEYS) else list(names))
