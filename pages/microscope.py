"""One batch, one layer, one token of a recorded run: what the router made of it, with the numbers."""

import streamlit as st

from explorer.ui.microscope import page as microscope
from explorer.ui.shared import links, picker, urls

st.title("Router microscope")
runs, probes = microscope.with_probe(picker.all_runs(), picker.chosen_arms())
urls.show_notices("runs")
if not runs:
    st.info(
        "No run here keeps a probe batch, which this page reads. Train one with "
        "`--set training.probe_tokens=1024`; of the shipped runs, seed 0 of the four main rules has one.",
        icon=":material/inbox:",
    )
    links.page("train", "Train your own")
else:
    run = microscope.choose_run(runs)
    microscope.show_run(run, probes[run.run_id], picker.chosen_arms())
