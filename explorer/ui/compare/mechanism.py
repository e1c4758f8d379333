"""The part of the Compare page that shows how the rules act on the routers; closed until it is asked for."""

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Question
from explorer.figures.views import compare
from explorer.ui.compare import controls, sections
from explorer.ui.shared import show, store


@st.fragment(key=sections.fragment_of("gradients"))
def gradients(arms: ArmSet) -> None:
    """Gradients at the routers."""
    questions = compare.mechanisms(arms, controls.settings(arms))
    pair = (questions["norms"], questions["cosine"])
    sections.heading("gradients", "router_gradient")
    place = sections.body_if_open(
        "gradients", "Show the norms of both gradients and the angle between them", pair
    )
    if place:
        with place:
            _side_by_side(*pair)


@st.fragment(key=sections.fragment_of("margin"))
def margins(arms: ArmSet) -> None:
    """Router margins, and the assignments that the bias changes."""
    questions = compare.mechanisms(arms, controls.settings(arms))
    pair = (questions["margin"], questions["switched"])
    sections.heading("margin", "score_margin")
    place = sections.body_if_open(
        "margin", "Show the margins and the assignments that the bias changes", pair
    )
    if place:
        with place:
            _side_by_side(*pair)


@st.fragment(key=sections.fragment_of("churn"))
def churn(arms: ArmSet) -> None:
    """How often the selected experts of a token change."""
    question = compare.mechanisms(arms, controls.settings(arms))["churn"]
    sections.heading("churn", "churn")
    place = sections.body_if_open("churn", "Show how many tokens change their experts", [question])
    if place:
        with place:
            show.question(question)


def _side_by_side(left: Question, right: Question) -> None:
    """Two panels; where both are missing for one reason, that reason once."""
    reasons = {
        answer.reason if isinstance(answer, Missing) else None
        for answer in (store.answer(left), store.answer(right))
    }
    if len(reasons) == 1 and None not in reasons:
        show.question(left)
        return
    for cell, question in zip(show.in_columns(2), (left, right), strict=True):
        with cell:
            show.question(question)
