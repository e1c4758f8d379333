"""One probe batch, one layer, one token and one expert of a recorded run, with the router's numbers."""

import streamlit as st

from explorer.figures.views import microscope as view
from explorer.ui.microscope import page
from explorer.ui.shared import links, picker, shell, urls
from explorer.ui.shared.store import STORE

st.title(view.TITLE)
arms = picker.chosen_arms()
runs, probes = view.runs_with_probe(STORE, picker.all_runs(), arms)
urls.show_notices("runs")
if not runs:
    links.nothing_yet("microscope", view.NO_PROBE, {"train": "Train your own", "import": "Import routes"})
    shell.follow_until(lambda known: bool(view.runs_with_probe(STORE, known, arms)[0]))
else:
    run = page.choose_run(runs)
    page.show_run(run, probes, arms, runs)
