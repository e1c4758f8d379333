"""The terms of the Glossary: an index, and each with formula and source."""

from collections.abc import Sequence
from functools import cache
from html import escape

import streamlit as st

from explorer.figures import aux_loss_cost
from explorer.figures.panel import slug
from explorer.metrics import glossary
from explorer.metrics.glossary import TERMS
from explorer.metrics.term import Term
from explorer.ui.components.terms import terms
from explorer.ui.glossary.formatted import term_html
from explorer.ui.shared import show, urls
from explorer.wording import counted

PLACE = "term-"
"""Before the class of the place of a term or of the heading of a section."""
WHOLE = "terms-whole"
"""Key of the places that only the whole glossary shows: its index and the worked example."""


EVERY_TERM, SECTIONS_ALONE = "index-terms", "index-sections"
"""Keys of the index with a link per term, and of the shorter one for phones."""
_INDEX_ON_A_PHONE = f"""
.st-key-{SECTIONS_ALONE} {{ display: none; }}
@media (max-width: 640px) {{
  .st-key-{EVERY_TERM} {{ display: none; }}
  .st-key-{SECTIONS_ALONE} {{ display: flex; }} }}
"""
FIRST = (
    "mixture_of_experts",
    "router",
    "load",
    "max_vio",
    "uniform_reference",
    "collapse",
    "aux_loss",
    "loss_free",
    "count_scope",
    "paired_interval",
)
"""Keys of the terms that a newcomer needs before the others, in the order in which to read them."""


def index() -> None:
    """The first ten terms for a newcomer, and a link to every term, section by section."""
    titles = {term.key: term.title.partition(",")[0] for term in TERMS}
    first = " · ".join(f"[{titles[key]}](#{key})" for key in FIRST)
    st.markdown(f"**New to mixtures of experts? Read these ten first:** {first}")
    sections = _sections(TERMS)
    lines = []
    for section in sections:
        links = (f"[{term.title}](#{term.key})" for term in TERMS if term.section == section)
        lines.append(f"**{section}:** {' · '.join(links)}")
    # A hundred links fill two screens of a phone, so that one gets the sections.
    st.html(f"<style>{_INDEX_ON_A_PHONE}</style>")
    with st.container(key=EVERY_TERM):
        st.markdown("\n\n".join(lines))
    with st.container(key=SECTIONS_ALONE):
        headings = (f"[{section}](#{_section_key(section)})" for section in sections)
        st.markdown(f"**All {len(TERMS)} terms:** {' · '.join(headings)}")


def matches(text: str, terms: Sequence[Term]) -> list[Term]:
    """The terms of this very title or key: what a link from a lesson asks for."""
    query = text.strip().casefold()
    return [term for term in terms if query in (term.title.casefold(), term.key.casefold())]


def in_title(text: str, terms: Sequence[Term]) -> list[Term]:
    """The terms with every word of `text` in the title: these are about it, others only mention it."""
    words = text.casefold().split()
    return [term for term in terms if all(word in term.title.casefold() for word in words)]


@st.fragment
def search() -> None:
    """The field that filters the page, by hiding terms: drawing them anew would take longest of all."""
    text = st.text_input(
        "Find a term",
        key="term",
        bind="query-params",
        icon=":material/search:",
        placeholder="bias, MaxVio, scope …",
    )
    if not text:
        # Always an element, so that the first word is a change of its text and not of the page.
        st.html("<style></style>")
        return
    matching = glossary.search(text)
    exact = matches(text, matching)
    about = [*exact, *(term for term in in_title(text, matching) if term not in exact)]
    st.html(f"<style>{_filter(matching, about)}</style>")
    if not matching:
        sentence = f"No term contains “{urls.quoted(text)}”. Clear the field to see all {len(TERMS)}."
        st.info(show.plain(sentence))
    elif about and len(matching) > len(about):
        rest = len(matching) - len(about)
        show.note(
            f"{counted(len(about), 'term')} about “{urls.quoted(text)}”, then {rest} that "
            f"{'mentions' if rest == 1 else 'mention'} it."
        )


def _filter(terms: Sequence[Term], about: Sequence[Term]) -> str:
    """The style that leaves these terms, with the sections that they are in; `about` come first."""
    others = [term for term in terms if term not in about]
    keys_left = {*(term.key for term in terms), *(_section_key(name) for name in _sections(others))}
    places = [*(term.key for term in TERMS), *(_section_key(name) for name in _sections(TERMS))]
    hidden = [f'[class*="st-key-{WHOLE}"]']
    hidden += [f".{PLACE}{place}" for place in places if place not in keys_left]
    rules = [f"{', '.join(hidden)} {{ display: none !important; }}"]
    rules += [f".{PLACE}{term.key} {{ order: {place - len(about)}; }}" for place, term in enumerate(about)]
    return "\n".join(rules)


def show_terms() -> None:
    """Every term under the heading of its section, each in a place that the search can hide."""
    terms(whole_html(), key="terms")


@cache
def whole_html() -> str:
    """The HTML of all sections."""
    cost = f'<p><a href="./evidence">{escape(aux_loss_cost.QUESTION)}</a></p>'
    parts = []
    for section in _sections(TERMS):
        key = _section_key(section)
        parts.append(f'<h2 id="{key}" class="{PLACE}{key}">{escape(section)}</h2>')
        parts += [
            term_html(term, f"{PLACE}{term.key}", cost if term.key == "aux_loss" else "")
            for term in TERMS
            if term.section == section
        ]
    return "".join(parts)


def _section_key(section: str) -> str:
    return f"section-{slug(section)}"


def _sections(terms: Sequence[Term]) -> list[str]:
    return list(dict.fromkeys(term.section for term in terms))
