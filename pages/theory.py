"""Load balancing as a descent on a dual: the theory of loss-free balancing, made visible."""

import streamlit as st

from explorer.ui.shared import show
from explorer.ui.theory import page as theory

st.title("Theory")
show.note(
    "Biases act as prices: a balancing rule performs descent on the dual of an assignment problem. Here it "
    "runs on a fixed set of tokens, step by step, beside the exact optimum."
)
theory.view()
