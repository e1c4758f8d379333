"""Routing dynamics without a language model: two balancing rules on one simulated router."""

import streamlit as st

from explorer.ui.playground import page as playground
from explorer.ui.shared import show

st.title("Playground")
show.note(
    "A router without a language model: scores are sampled, tokens select experts, and a rule reacts to the "
    "loads. Charts follow while you drag."
)
playground.view()
