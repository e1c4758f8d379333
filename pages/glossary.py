"""Every term and formula, with its source."""

import streamlit as st

from explorer.metrics import glossary
from explorer.ui.glossary import worked_example as definitions
from explorer.ui.shared import picker, show, urls

st.title("Glossary")
urls.show_notices("runs")
words = st.text_input(
    "Find a term",
    key="term",
    bind="query-params",
    icon=":material/search:",
    placeholder="bias, MaxVio, scope …",
)
if not words:
    definitions.link()
found = glossary.search(words or "")
if not found:
    sentence = f"No term has “{urls.quoted(words)}” in it. Clear the field to see all {len(glossary.TERMS)}."
    st.info(show.plain(sentence))
for section in dict.fromkeys(term.section for term in found):
    st.header(section, divider="gray")
    for term in found:
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
if not words:
    definitions.section(picker.all_runs())
