"""Load balancing as a descent on a dual: the theory of loss-free balancing, made visible."""

import streamlit as st

from explorer.ui.shared import show
from explorer.ui.theory import page as theory

st.title("Theory")
show.note(
    "Biases are prices: a balancing rule descends on the dual of an assignment problem. Here it does so on "
    "frozen tokens, step by step, with the exact optimum beside it."
)
theory.view()
