"""In a lesson the menu's own entry leads to the course, as the menu of any other page does.

Streamlit keeps the whole address when the page that is open is chosen again in the menu, so that nothing
would happen. The menu is the browser's: the server cannot tell such a click from any other run of the page.
"""

from pathlib import Path

import streamlit as st

from explorer.ui.components import modules

FOLDER = Path(__file__).parent
_MENU = st.components.v2.component("moe_course_menu", js=modules.script(FOLDER / "course_menu.js"))


def course_menu(link: str) -> None:
    """While a lesson is open, the menu's entry of this page follows the link in this container."""
    _MENU(key="course_menu", data={"link": link}, height="content")
