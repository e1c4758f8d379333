"""The terms of the Glossary: an index, and each with formula and source."""

from collections.abc import Sequence

import streamlit as st

from explorer.metrics.glossary import TERMS
from explorer.metrics.term import Term
from explorer.ui.shared import show


def index() -> None:
    """A link to every term, section by section."""
    lines = []
    for section in _sections(TERMS):
        links = (f"[{term.title}](#{term.key})" for term in TERMS if term.section == section)
        lines.append(f"**{section}:** {' · '.join(links)}")
    st.markdown("\n\n".join(lines))


def matches(text: str, terms: Sequence[Term]) -> list[Term]:
    """The terms of this very title or key: what a link from a lesson asks for."""
    wanted = text.strip().casefold()
    return [term for term in terms if wanted in (term.title.casefold(), term.key.casefold())]


def show_terms(terms: Sequence[Term]) -> None:
    """Each term under the heading of its section."""
    for section in _sections(terms):
        st.header(section, divider="gray")
        for term in terms:
            if term.section == section:
                show_term(term)


def show_term(term: Term) -> None:
    """Title, text, formula and sources."""
    st.subheader(term.title, anchor=term.key)
    st.markdown(term.text)
    if term.formula:
        st.latex(show.stacked(term.formula))
    if term.more:
        st.markdown(term.more)
    if term.sources:
        names = (f"[{s.words}]({s.link})" if s.link else s.words for s in term.sources)
        show.note("Source: " + "; ".join(names), markdown=True)


def _sections(terms: Sequence[Term]) -> list[str]:
    return list(dict.fromkeys(term.section for term in terms))
