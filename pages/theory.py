"""Load balancing as a descent on a dual: the theory of loss-free balancing, made visible."""

import streamlit as st

from explorer.ui.shared import show
from explorer.ui.theory import page as theory
from explorer.ui.theory import text

st.title("Theory")
st.markdown(text.INTRODUCTION)
show.note(text.WHY)
theory.view()
