"""Up to six arms side by side."""

import streamlit as st

from explorer.ui.compare import page
from explorer.ui.shared import links, picker, shell, urls

st.title("Compare balancing rules")
urls.show_notices("runs")
arms = picker.chosen_arms()
if not picker.all_arms():
    links.nothing_yet(
        "compare",
        "There are no runs to compare yet. Train two or more with different rules.",
        {"train": "Train some runs", "import": "Import runs"},
    )
    shell.follow_new_runs(picker.all_runs())
elif not arms:
    st.info("Select two to six runs in the picker on the left.", icon=":material/arrow_back:")
else:
    page.view(arms, picker.all_runs())
