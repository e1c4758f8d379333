"""Two figures whose data grow when the page is asked to draw itself again, for `test_chart_zoom.py`."""

import sys
from pathlib import Path
from typing import Any

import streamlit as st

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import chart_frames as frames

from explorer.charts import balance, heatmaps, theme

st.set_page_config(layout="wide")


def kept(figure: theme.Figure) -> dict[str, Any]:
    """What a page passes so that the zoom outlives a change of data."""
    return {"on_select": lambda: None, "selection_mode": theme.zooms(figure)}


@st.fragment
def live() -> None:
    """A timer would redraw it beside the test as well, for as long as a busy machine takes."""
    st.button("tick")
    state = st.session_state
    state["ticks"] = state.get("ticks", 0) + 1
    bins = 20 + state["ticks"]
    curves = balance.max_vio_curves(
        frames.vio_frame({"a": 3.0, "b": 0.2}, bins), references=frames.REFERENCES, playhead=10 * (bins - 5)
    )
    st.altair_chart(curves, theme="streamlit", key="curves", alt="curves", **kept(curves))
    heat = heatmaps.load_heatmap(frames.heat_frame(bins, 4, each=10), playhead=10 * (bins - 5))
    st.altair_chart(heat, theme="streamlit", key="heat", alt="heat", **kept(heat))
    st.text(f"TICKS {state['ticks']}")


live()
