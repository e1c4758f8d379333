"""One expert under the Microscope: its tokens, its co-selected experts, its load and bias over training."""

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.probe import next_layer
from explorer.figures.views.microscope import MicroscopeSettings, expert_questions
from explorer.metrics.glossary import tip
from explorer.ui.shared import links, show


def section(
    run: Run, settings: MicroscopeSettings, expert: int, *, is_marked: bool, is_ordered: bool
) -> None:
    """Six panels of one expert."""
    st.subheader(f"Expert {expert}")
    show.note(
        "The expert marked in the text."
        if is_marked
        else f"The expert with the most {'first choices' if is_ordered else 'tokens'}. "
        "Click a number above the text to see another."
    )
    links.page(
        "replay",
        f"Replay this run with expert {expert}",
        run=run.run_id,
        layer=settings.layer,
        expert=expert,
    )
    other = next_layer(run.layers, settings.layer)
    titles = (
        ("Its tokens", None),
        ("Its load by domain", tip("domain")),
        ("Co-selected experts", tip("coactivation")),
        (f"Its tokens in {'other layers' if other is None else f'layer {other}'}", None),
        ("Its load over training", tip("load")),
        ("Its bias over training", tip("expert_bias")),
    )
    questions = expert_questions(run, settings, expert)
    cells = show.in_columns(len(questions), most=3, least_px=300)
    for cell, (title, words), question in zip(cells, titles, questions, strict=True):
        with cell:
            st.markdown(f"### {title}", help=words)
            show.question(question, live=True)
