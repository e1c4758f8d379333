"""What this app is, what goes wrong, what helps, and the shipped comparison in one picture."""

import streamlit as st

from explorer.figures.arms import default_arms
from explorer.ui.overview import page
from explorer.ui.shared import links, picker, shell, urls

with st.container(gap=None):
    st.markdown("MoE Routing Explorer")
    st.title("Watch a mixture of experts learn to balance its load", anchor=False)
urls.show_notices("runs")
arms = default_arms(picker.all_arms())
page.opening_section(arms)
if arms:
    page.story_section(arms)
else:
    st.info(
        "There are no recorded runs yet. Train some on the **Train** page (the `quick` preset takes about a "
        "minute), or start the app with `make app` in a full checkout: it comes with runs in `data/runs/`.",
        icon=":material/inbox:",
    )
    links.page("train", "Train a first run")
    shell.follow_new_runs(picker.all_runs())
links.where_next()
page.runs_section(picker.all_runs())
