"""The parts of the Playground that are drawn apart from each other, and which control draws which."""

import streamlit as st

from explorer.figures.simulation import SIDES
from explorer.figures.views.playground_choices import KEYS
from explorer.ui.shared import urls

ALL = "playground_all"
SITUATION, PICTURE, FOLLOWER = "playground_situation", "playground_max_vio", "playground_follower"
BIASES, LOADS, CHANGED = "playground_biases", "playground_loads", "playground_changed"
NUMBERS = "playground_final"
CHARTS = (BIASES, LOADS, CHANGED)
"""Charts below the first one."""
FORMULAS = {side: f"playground_formula_{side}" for side in SIDES}
"""Side -> its formula, which states the rate."""
FORMS = {side: f"playground_form_{side}" for side in SIDES}
"""Side -> the form for a change of rule, which begins at the playhead."""

# A large first part of a run is sent ahead (`server/bursts.py`), and the page is rendered once more for it.
# The first chart is large, but the browser has drawn it already, so a small part goes first.


def draw_all() -> None:
    """The end of a callback of a control that other controls depend on."""
    st.rerun(ALL)


def draw_rate(side: str) -> None:
    """The end of a callback of a number in the rule of this side."""
    _draw(FORMULAS[side], PICTURE, SITUATION, *CHARTS, NUMBERS, FOLLOWER)


def draw_playhead() -> None:
    """The end of the callback of the playhead."""
    _draw(*FORMS.values(), PICTURE, *CHARTS, FOLLOWER)


def _draw(*names: str) -> None:
    """These parts, or all while the page says something about the address that may now be settled."""
    st.rerun(ALL if urls.has_notices(*KEYS) else list(names))
