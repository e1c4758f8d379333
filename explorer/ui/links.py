"""Links between the pages."""

from typing import Any

import streamlit as st

from explorer.ui.settings import PAGES

ICONS = {
    "compare": ":material/compare:",
    "replay": ":material/play_circle:",
    "train": ":material/model_training:",
    "glossary": ":material/menu_book:",
}


def page(name: str, label: str, **query: Any) -> None:
    """A link to a page, with its state in the URL."""
    st.page_link(PAGES / f"{name}.py", label=label, icon=ICONS.get(name), query_params=query or None)


def where_next() -> None:
    """What to do after the Overview."""
    st.subheader("Where to go next")
    cards = {
        "compare": ("Compare", "Two to six runs side by side: loads, biases, imbalance and perplexity."),
        "replay": ("Replay", "One run as a film: every expert's load, step by step."),
        "train": ("Train", "Train your own in a minute and watch it live."),
        "glossary": ("Glossary", "Every term and formula, with its source."),
    }
    for column, (name, (label, text)) in zip(st.columns(len(cards)), cards.items(), strict=True):
        with column, st.container(border=True, height="stretch"):
            page(name, label)
            st.caption(text)
