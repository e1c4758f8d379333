"""A tiny companion of the player that leads its page: the step of the playhead in words."""

from pathlib import Path

import streamlit as st

from explorer.ui.components import modules

_WORDS = st.components.v2.component(
    "moe_playhead_words",
    html='<output aria-live="off"></output>',
    css="output { color: var(--st-text-color); font: 14px var(--st-font); font-variant-numeric: tabular-nums;"
    " line-height: 1; white-space: nowrap; }",
    js=modules.script(Path(__file__).parent / "step_words.js"),
)


def step_in_words(*, key: str) -> None:
    """`step 120`, always that of the playhead; Python has nothing to do with it."""
    _WORDS(key=key, width="content")
