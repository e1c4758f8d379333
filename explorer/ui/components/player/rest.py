"""Two tiny companions of a player that `follow`s: what waits for its rest, and its step in words."""

from pathlib import Path

import streamlit as st

from explorer.charts import theme

_SCRIPT = (Path(__file__).parent / "rest.js").read_text(encoding="utf-8")
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
        data={"event": theme.PLAYHEAD_EVENT, "step": known, "report": True},
        on_rested_change=lambda: None,
    )
    value = result.get("rested") if result is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else known


def step_in_words(*, key: str) -> None:
    """`step 120`, always that of the playhead; Python has nothing to do with it."""
    _WORDS(key=key, data={"event": theme.PLAYHEAD_EVENT, "step": None, "report": False}, width="content")
