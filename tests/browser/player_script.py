"""A small app around the player, for `test_player.py`: a fragment that ticks, and two more players."""

import numpy as np
import streamlit as st

from explorer.records.matrix import LoadMatrix
from explorer.ui.components.player import heatmap_player

STEPS, EXPERTS = 200, 8


def matrix(count: int, seed: int) -> LoadMatrix:
    """Expert 3 never works; expert 5 takes ever more."""
    rng = np.random.default_rng(seed)
    steps = np.arange(count, dtype=np.int64)
    tokens = rng.integers(80, 120, (count, EXPERTS))
    tokens[:, 3] = 0
    tokens[:, 5] += 4 * steps
    bias = np.cumsum(rng.normal(0, 0.01, (count, EXPERTS)), 0).astype(np.float32)
    return LoadMatrix(steps=steps, last_steps=steps, tokens=tokens, bias=bias)


st.set_page_config(layout="wide")


@st.fragment(run_every=0.25)
def live() -> None:
    """Reruns four times a second, more often than a live page does."""
    state = st.session_state
    state.setdefault("step", 50)
    state.setdefault("expert", None)
    state["ticks"] = state.get("ticks", 0) + 1
    grow = st.toggle("grow", key="grow")
    if grow:
        state["length"] = min(STEPS + 40, state.get("length", STEPS) + 20)
    if st.button("start again"):
        state.update(step=50, expert=None, reports=0)
    # Plain state, no widget of the same key: a tick under way would send the widget's old value back.
    for step in (51, 199):
        if st.button(f"python says {step}"):
            state["step"] = step

    def on_step(step: int) -> None:
        state["step"] = min(step, STEPS - 1)
        state["reports"] = state.get("reports", 0) + 1

    def on_expert(expert: int | None) -> None:
        state["expert"] = expert

    heatmap_player(
        matrix(state.get("length", STEPS), 1),
        key="main",
        step=state["step"],
        on_step=on_step,
        expert=state["expert"],
        on_expert=on_expert,
        label="Loads of the test run",
    )
    st.text(f"STATE step={state['step']} expert={state['expert']} reports={state.get('reports', 0)}")
    st.text(f"TICKS {state['ticks']}")


live()
left, right = st.columns(2)
with left:
    heatmap_player(matrix(STEPS, 2), key="left", label="Left")
with right:
    heatmap_player(matrix(STEPS // 2, 3), key="right", label="Right")
