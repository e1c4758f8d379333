"""Panels of the whole layer: load by domain for several methods, and router saturation."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures import specialisation
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.views.microscope import domain_questions, saturation_question
from explorer.metrics.glossary import tip
from explorer.ui.shared import show
from explorer.ui.shared.store import STORE


def domains_by_method(arms: Sequence[Arm], layer: int) -> None:
    """Held-out load by domain, one panel per picked arm, in the form of DeepSeek-V3's Figure 9."""
    st.subheader("Expert load by domain", help=tip("figure_nine"))
    picked = ArmSet.of(arms)
    recorded = specialisation.with_domain_loads(STORE, picked, layer)
    if not len(recorded):
        show.note(specialisation.NO_LOADS)
        return
    st.markdown(show.plain(specialisation.distances(STORE, recorded)))
    show.load_legend()
    questions = domain_questions(recorded, picked, layer)
    for place, question in zip(show.in_columns(len(questions)), questions, strict=True):
        with place:
            show.question(question, stays=True)
    show.note(
        "A row of uniform colour is a domain without specialist experts. Expert numbers do not correspond "
        "across runs: compare how uneven the rows are, not columns."
    )


def saturation(run: Run, layer: int) -> None:
    """How early in training the final expert choices were made."""
    st.subheader("Router saturation", help=tip("saturation"))
    show.question(saturation_question(run, layer), stays=True)
