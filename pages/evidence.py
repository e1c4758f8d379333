"""Claims from the literature, and what the experiments say about them."""

import streamlit as st

from explorer.figures.views.evidence import TITLE
from explorer.ui.evidence import page as evidence
from explorer.ui.shared import urls

st.title(TITLE)
urls.show_notices("runs")
evidence.view()
