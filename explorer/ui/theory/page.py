"""The Theory page: tokens and seats, balancing as a descent on a dual step by step, and learning online."""

import streamlit as st

from explorer.figures import theory
from explorer.figures.panel import Panel, Question
from explorer.figures.views import theory as view_of
from explorer.ui.shared import controls, panels, show, state, store, urls
from explorer.ui.theory import dragging, text


def view() -> None:
    """Tokens and seats, then the problem in formulas, the descent, and learning online."""
    controls.read_address(view_of.IN_ORDER, view_of.options_of)
    controls.read_seed(view_of.SEED)
    urls.show_notices(*view_of.KEYS)
    panels.bind(*view_of.KEYS)
    descent_and_online()


@st.fragment
def descent_and_online() -> None:
    """Controls, and the pictures that follow them."""
    # Its place is above the controls, which decide what it shows.
    picture = st.container()
    rule_row()
    problem()
    values = state.values(view_of.KEYS)
    panel_of = view_of.questions(view_of.settings_of(values))
    with picture, show.steady("theory_seat_panels"):
        seat_panels(panel_of)
    with show.steady("theory"):
        descent_panels(panel_of)
        online_panels(panel_of)
    dragging.follow(values)


def seat_panels(panel_of: dict[str, Question]) -> None:
    """Who finds a seat by the scores alone, and with the biases that the rule has learned."""
    for key, place in zip(
        ("theory_scores_alone", "theory_seats"), show.in_columns(2, least_px=300), strict=True
    ):
        with place:
            finding(panel_of[key])
            show.question(panel_of[key], live=True, text=False)
    show.note(theory.SEATS_HOW)


def problem() -> None:
    """The problem in formulas, with its sources."""
    with st.expander("The problem in formulas, and its sources", icon=":material/function:"):
        for formula in (text.PROBLEM, text.LAGRANGIAN, text.DUAL, text.IDENTITY, text.CONDITION):
            st.latex(formula)
        left, right = show.in_columns(2)
        left.markdown(text.PUBLISHED)
        right.markdown(text.DERIVED)


def rule_row() -> None:
    """Rule and problem."""
    rule, rate, decay = view_of.RULE
    with st.container(border=True, horizontal=True, vertical_alignment="bottom"):
        controls.draw(rule, view_of.options_of, width=200)
        controls.draw(rate, view_of.options_of)
        controls.draw(decay, view_of.options_of, width=120)
    grid = st.grid(6, min_column_width=130)
    for choice in view_of.PROBLEM:
        with grid.cell():
            controls.draw(choice, view_of.options_of)
    with grid.cell():
        controls.draw_seed(view_of.SEED)


def descent_panels(panel_of: dict[str, Question]) -> None:
    """On frozen tokens, step by step."""
    st.subheader("Distance to the best balanced assignment")
    st.markdown(text.SO_WHAT["dual"])
    st.markdown(text.DUAL_IN_WORDS)
    pair(panel_of["theory_dual"], panel_of["theory_gap"], theory.DUAL_HOW)
    st.subheader("Predicted decrease and switching benefit per step")
    st.markdown(text.SO_WHAT["account"])
    show.question(panel_of["theory_account"], stays=True)
    left, right = show.in_columns(2)
    with left:
        st.subheader("Moves between classes of experts")
        st.markdown(text.SO_WHAT["moves"])
        show.question(panel_of["theory_moves"], stays=True)
    with right:
        st.subheader("Deviation from the balanced load")
        st.markdown(text.SO_WHAT["band"])
        show.question(panel_of["theory_band"], stays=True)


def online_panels(panel_of: dict[str, Question]) -> None:
    """New tokens in every step."""
    st.subheader("Regret of learning online")
    st.markdown(text.SO_WHAT["regret"])
    pair(panel_of["theory_regret_False"], panel_of["theory_regret_True"], theory.REGRET_HOW)
    st.subheader("Curvature of the dual")
    st.markdown(text.SO_WHAT["ties"])
    left, right = show.in_columns(2)
    ties = panel_of["theory_ties"]
    with left:
        show.question(ties, stays=True, text=False)
    with right:
        finding(ties)
        show.note(theory.TIES_HOW)


def pair(left: Question, right: Question, how: str) -> None:
    """Two panels with one finding, beside each other."""
    finding(left)
    for question, place in zip((left, right), show.in_columns(2), strict=True):
        with place:
            show.question(question, stays=True, text=False)
    show.note(how)


def finding(question: Question) -> None:
    """The finding of a panel, apart from its chart."""
    panel = store.answer(question)
    if isinstance(panel, Panel):
        st.markdown(show.plain(panel.finding))
