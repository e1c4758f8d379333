"""One run as a film: the heatmap player, and every panel at its playhead."""

import streamlit as st

from explorer.ui.replay import page as replay
from explorer.ui.shared import links, picker, urls

st.title("Replay one run")
runs = replay.playable(picker.all_runs(), picker.chosen_arms())
urls.show_notices("runs")
if not runs:
    st.info(
        "There is no run to replay yet. Train one, it can be watched here while it trains.",
        icon=":material/inbox:",
    )
    links.page("train", "Train a first run")
else:
    replay.show_run(replay.choose_run(runs))
