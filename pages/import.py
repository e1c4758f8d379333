"""Import routing data of other systems."""

import streamlit as st

from explorer.ui.import_page import page

st.title("Import runs")
page.show_page()
