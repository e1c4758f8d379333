"""The shell around every page: page config, navigation and the shared run picker."""

import streamlit as st

from explorer.ui.server.settings import ICON, PAGES
from explorer.ui.shared import display, exports, panels, shell, urls
from explorer.ui.shared.picker import run_picker
from explorer.ui.warm_up import load_pandas

st.set_page_config(
    page_title="MoE Routing Explorer", page_icon=str(ICON), layout="wide", initial_sidebar_state=330
)

page = st.navigation(
    [
        st.Page(PAGES / "overview.py", title="Overview", default=True),
        st.Page(PAGES / "lessons.py", title="Lessons", url_path="lessons"),
        st.Page(PAGES / "compare.py", title="Compare", url_path="compare"),
        st.Page(PAGES / "replay.py", title="Replay", url_path="replay"),
        st.Page(PAGES / "microscope.py", title="Microscope", url_path="microscope"),
        st.Page(PAGES / "serving.py", title="Serving", url_path="serving"),
        st.Page(PAGES / "playground.py", title="Playground", url_path="playground"),
        st.Page(PAGES / "theory.py", title="Theory", url_path="theory"),
        st.Page(PAGES / "train.py", title="Train", url_path="train"),
        st.Page(PAGES / "import.py", title="Import", url_path="import"),
        st.Page(PAGES / "gallery.py", title="Gallery", url_path="gallery"),
        st.Page(PAGES / "evidence.py", title="Evidence", url_path="evidence"),
        st.Page(PAGES / "glossary.py", title="Glossary", url_path="glossary"),
    ],
    position="top",
)
figures = panels.begin(page.url_path, page.title)
urls.arrive(page.url_path)
shell.readable_values()
display.settle()
shell.wait_for_runs()
# The picture of the plain first page is prepared without pandas, unless there are runs yet to be read.
if page.url_path or st.query_params or shell.is_reading():
    load_pandas()
run_picker(page.url_path)
with st.sidebar:
    display.choose()
display.dress()
shell.show_index_state()
above = st.empty()
page.run()
with st.sidebar:
    exports.view_section(figures)
display.embed(above)
