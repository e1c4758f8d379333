"""The part of the Compare page that shows how the rules act on the routers."""

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Question
from explorer.figures.views import compare
from explorer.metrics.glossary import tip
from explorer.ui.shared import show, store


@st.fragment
def section(arms: ArmSet) -> None:
    """Gradients at the routers, router margins, and how often the selected experts change."""
    questions = compare.mechanisms(arms)
    st.subheader("Router gradients: language loss and auxiliary loss", help=tip("router_gradient"))
    _side_by_side(questions["norms"], questions["cosine"])
    st.subheader("Router margin", help=tip("score_margin"))
    _side_by_side(questions["margin"], questions["switched"])
    st.subheader("Routing churn between probes", help=tip("churn"))
    show.question(questions["churn"])


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
