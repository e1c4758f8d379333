"""Served load of one run: hot set, placement with a verdict, batch-aware selection."""

import streamlit as st

from explorer.figures.views import serving as view
from explorer.figures.views.serving_choices import usable_runs
from explorer.ui.serving import page
from explorer.ui.shared import links, picker

st.title(view.TITLE)
st.markdown(view.INTRODUCTION)
runs = usable_runs(picker.all_runs())
if not runs:
    links.nothing_yet("serving", view.NO_RUN, {"import": "Import a trace", "train": "Train a run"})
else:
    page.show_runs(runs)
