"""The figures of the Loss-Free Balancing paper, redrawn from the shipped runs."""

import streamlit as st

from explorer.ui.gallery import page as gallery
from explorer.ui.shared import picker, urls

st.title("Gallery")
urls.show_notices("runs")
gallery.view(picker.all_runs())
