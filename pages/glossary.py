"""Every term and formula, with its source."""

import streamlit as st

from explorer.figures.views.glossary import TITLE
from explorer.metrics import glossary
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
terms = glossary.search(text or "")
if not terms:
    sentence = f"No term contains “{urls.quoted(text)}”. Clear the field to see all {len(glossary.TERMS)}."
    st.info(show.plain(sentence))
for section in dict.fromkeys(term.section for term in terms):
    st.header(section, divider="gray")
    for term in terms:
        if term.section != section:
            continue
        st.subheader(term.title, anchor=term.key)
        st.markdown(term.text)
        if term.formula:
            st.latex(show.stacked(term.formula))
        if term.more:
            st.markdown(term.more)
        if term.sources:
            names = (f"[{s.words}]({s.link})" if s.link else s.words for s in term.sources)
            show.note("Source: " + "; ".join(names), markdown=True)
if not text:
    worked_example.section(picker.all_runs())
