"""What every page begins with: page config, navigation and the first picture, before any library loads."""

import streamlit as st

from explorer.ui import first_page
from explorer.ui.server.places import ICON, PAGES

st.set_page_config(
    page_title="MoE Routing Explorer", page_icon=str(ICON), layout="wide", initial_sidebar_state=250
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
first_page.send(page.url_path)
with first_page.kept(page.url_path):
    from explorer.ui import frame

    frame.draw(page)
