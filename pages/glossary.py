"""Every term and formula, with its source."""

import streamlit as st

from explorer.figures.views.glossary import TITLE
from explorer.ui.glossary import terms, worked_example
from explorer.ui.shared import picker, urls

st.title(TITLE)
urls.show_notices("runs")
terms.search()
with st.container(key=f"{terms.WHOLE}-index"):
    worked_example.link()
    terms.index()
terms.show_terms()
with st.container(key=f"{terms.WHOLE}-example"):
    worked_example.section(picker.all_runs())
