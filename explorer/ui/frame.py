"""The frame around every page: run picker, display and export in the sidebar, notices above the page.

Apart from `explorer.ui.main`, because it loads the libraries of the charts.
"""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from explorer.ui.shared import display, exports, panels, shell, urls
from explorer.ui.shared.picker import run_picker
from explorer.ui.warm_up import load_pandas


def draw(page: StreamlitPage) -> None:
    """Draw a page and what stands around it."""
    figures = panels.begin(page.url_path, page.title)
    urls.on_page_change(page.url_path)
    shell.readable_values()
    display.read_mode()
    shell.wait_for_runs()
    # The picture of the plain first page is prepared without pandas, unless there are runs yet to be read.
    if page.url_path or st.query_params or shell.is_reading():
        load_pandas()
    run_picker(page.url_path)
    with st.sidebar:
        display.mode_control()
    display.apply_mode()
    shell.show_index_state(page.url_path)
    above = st.empty()
    page.run()
    with st.sidebar:
        exports.view_section(figures)
    display.embed(above)
