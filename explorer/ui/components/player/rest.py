"""Two tiny companions of the player that leads its page: what waits for its rest, and its step in words."""

from pathlib import Path

import streamlit as st

from explorer.ui.components import modules

_SCRIPT = modules.script(Path(__file__).parent / "rest.js")
_REST = st.components.v2.component("moe_playhead_at_rest", js=_SCRIPT)
_WORDS = st.components.v2.component(
    "moe_playhead_words",
    html='<output aria-live="off"></output>',
    css="output { color: var(--st-text-color); font: 14px var(--st-font); font-variant-numeric: tabular-nums;"
    " line-height: 1; white-space: nowrap; }",
    js=_SCRIPT,
)


def step_at_rest(known: int, *, key: str) -> int:
    """Rerun this fragment whenever the playhead has come to rest elsewhere; returns its step.

    `known` is the step that Python has, and what counts in every other rerun.
    """
    result = _REST(
        key=key,
        data={"step": known, "report": True},
        on_rested_change=lambda: None,
    )
    value = result.get("rested") if result is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else known


def step_in_words(*, key: str) -> None:
    """`step 120`, always that of the playhead; Python has nothing to do with it."""
    _WORDS(key=key, data={"step": None, "report": False}, width="content")
