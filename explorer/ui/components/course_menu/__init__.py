"""In a lesson the menu entry of the page leads back to the course, as it does from any other page.

Streamlit keeps the whole address when the open page is selected again in the menu, so nothing would happen.
The menu runs in the browser: the server cannot tell such a click from any other run of the page.
"""

from pathlib import Path

import streamlit as st

from explorer.ui.components import modules

FOLDER = Path(__file__).parent
_MENU = st.components.v2.component("moe_course_menu", js=modules.script(FOLDER / "course_menu.js"))


def course_menu(link: str) -> None:
    """While a lesson is open, let the menu entry of this page follow a link. link: key of its container."""
    _MENU(key="course_menu", data={"link": link}, height="content")
