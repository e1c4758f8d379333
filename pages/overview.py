"""What this app is, and the shipped comparison in one picture."""

import streamlit as st

from explorer.figures.arms import default_arms
from explorer.ui.overview import page
from explorer.ui.shared import links, picker, urls

st.title("Watch a mixture of experts learn to share its work")
st.markdown(
    "Small language models were trained on real text, with the load of every expert recorded at every step. "
    "See how routing becomes imbalanced without a balancing rule, how far an auxiliary loss balances it and "
    "at what cost, and how sign-based bias updates balance the loads without adding a gradient."
)
urls.show_notices("runs")
arms = default_arms(picker.all_arms())
if arms:
    page.story_section(arms)
else:
    st.info(
        "There are no recorded runs yet. Train some on the **Train** page (the `quick` preset takes about a "
        "minute), or start the app with `make app` in a full checkout: it comes with runs in `data/runs/`.",
        icon=":material/inbox:",
    )
    links.page("train", "Train a first run")
links.where_next()
page.runs_section(picker.all_runs())
