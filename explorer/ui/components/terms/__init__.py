"""Long formatted text that the page searches and links to: HTML of our own, which the browser draws at once.

Streamlit draws Markdown element by element, and every formula by a script: the terms of the Glossary took it
more than a second. Its own element for HTML leaves out formulas.
"""

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from explorer.ui.components import modules

FOLDER = Path(__file__).parent


@cache
def _component(html: str) -> ComponentRenderer:
    """The component of one text: its markup is the program's own and never data of a session."""
    return st.components.v2.component(
        "moe_terms",
        html=f'<div class="glossary-terms">{html}</div>',
        css=(FOLDER / "terms.css").read_text(encoding="utf-8"),
        js=modules.script(FOLDER / "terms.js"),
        # Part of the page: links lead to its headings, and a style of the page hides some of it.
        isolate_styles=False,
    )


def terms(html: str, *, key: str) -> None:
    """Draw HTML of the program's own with the look of the page; ids and classes can be addressed there."""
    _component(html)(key=key)
