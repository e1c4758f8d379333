"""One run as a film: the heatmap player, and every panel at its playhead."""

import streamlit as st

from explorer.figures.views import replay as view
from explorer.ui.replay import page
from explorer.ui.shared import links, picker, shell, urls

st.title(view.TITLE)
runs = view.playable(picker.all_runs(), picker.chosen_arms())
urls.show_notices("runs")
if not runs:
    links.nothing_yet(
        "replay",
        "There is no run to replay yet. Train one and watch it here while it trains.",
        {"train": "Train a first run", "import": "Import a run"},
    )
    shell.follow_new_runs(picker.all_runs())
else:
    page.show_run(page.select_run(runs))
