"""Long formatted text that the page searches and links to: HTML of our own, which the browser draws at once.

Streamlit draws Markdown element by element, and every formula by a script: the terms of the Glossary took it
more than a second. Its own element for HTML leaves out formulas.
"""

from pathlib import Path

import streamlit as st

from explorer.ui.components import modules

FOLDER = Path(__file__).parent

_TERMS = st.components.v2.component(
    "moe_terms",
    html=(FOLDER / "terms.html").read_text(encoding="utf-8"),
    css=(FOLDER / "terms.css").read_text(encoding="utf-8"),
    js=modules.script(FOLDER / "terms.js"),
    # Part of the page: links lead to its headings, and a style of the page hides some of it.
    isolate_styles=False,
)


def terms(html: str, *, key: str) -> None:
    """Draw trusted HTML with the look of the page's text; the page can address its ids and classes."""
    _TERMS(key=key, data={"html": html})
