"""Every term and formula, with its source."""

import streamlit as st

from explorer.figures.views.glossary import TITLE
from explorer.metrics import glossary
from explorer.ui.glossary import terms as glossary_terms
from explorer.ui.glossary import worked_example
from explorer.ui.shared import picker, show, urls

st.title(TITLE)
urls.show_notices("runs")
text = st.text_input(
    "Find a term",
    key="term",
    bind="query-params",
    icon=":material/search:",
    placeholder="bias, MaxVio, scope …",
)
if not text:
    worked_example.link()
    glossary_terms.index()
terms = glossary.search(text or "")
if not terms:
    sentence = f"No term contains “{urls.quoted(text)}”. Clear the field to see all {len(glossary.TERMS)}."
    st.info(show.plain(sentence))
exact = glossary_terms.matches(text or "", terms)
for term in exact:
    glossary_terms.show_term(term)
others = [term for term in terms if term not in exact]
if exact and others:
    show.note(f"Other terms with “{urls.quoted(text)}” in their text:")
glossary_terms.show_terms(others)
if not text:
    worked_example.section(picker.all_runs())
