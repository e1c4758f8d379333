"""Load balancing as a descent on a dual: the theory of loss-free balancing, made visible."""

import streamlit as st

from explorer.ui.shared import show
from explorer.ui.theory import page as theory

st.title("Theory")
show.note(
    "Biases are prices: what a rule does to them is a descent on the dual of an assignment problem. Here on "
    "frozen tokens, step by step, with the exact optimum beside it."
)
theory.view()
