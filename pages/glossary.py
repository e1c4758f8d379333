"""Every term and formula, with its source."""

import streamlit as st

from explorer import glossary
from explorer.ui import urls

st.title("Glossary")
urls.show_notices("runs")
for section, terms in glossary.sections().items():
    st.header(section, divider="gray")
    for term in terms:
        st.subheader(term.title, anchor=term.key)
        st.markdown(term.text)
        if term.formula:
            st.latex(term.formula)
        if term.more:
            st.markdown(term.more)
        if term.sources:
            st.caption(
                "Source: " + "; ".join(f"[{s.words}]({s.link})" if s.link else s.words for s in term.sources)
            )
