"""The Theory page: tokens and seats, balancing as a descent on a dual step by step, and learning online."""

import streamlit as st

from explorer.figures import theory
from explorer.figures.panel import Panel, Question
from explorer.figures.views import theory as view_of
from explorer.ui.shared import controls, panels, show, state, store, urls
from explorer.ui.theory import dragging, text

SEATS, DISTANCE, FOLLOWER = "theory_seats", "theory_distance", "theory_follower"
PANELS = {name: f"theory_{name}" for name in ("account", "moves", "band")}
"""Panel of the descent -> key of its fragment."""
DESCENT = (DISTANCE, *PANELS.values())


def view() -> None:
    """Tokens and seats, then the problem in formulas, the descent, and learning online."""
    controls.read_address(view_of.IN_ORDER, view_of.options_of)
    controls.read_seed(view_of.SEED)
    urls.show_notices(*view_of.KEYS)
    panels.bind(*view_of.KEYS)
    descent_and_online()


@st.fragment
def descent_and_online() -> None:
    """Controls, and the pictures that follow them.

    Those that depend on the rate are fragments with keys: a new rate redraws them and nothing else, since
    every element that is drawn costs the browser time.
    """
    # Its place is above the controls, which decide what it shows.
    picture = st.container()
    rule_row()
    problem()
    with picture, show.steady("theory_seat_panels"):
        seat_panels()
    with show.steady("theory"):
        descent_panels()
        online_panels(_questions())
    follow()


def draw_rate() -> None:
    """The end of the callback of the rate."""
    st.rerun([SEATS, *DESCENT, FOLLOWER])


@st.fragment(key=FOLLOWER)
def follow() -> None:
    """The component that makes charts follow the sliders; drawn after the charts whose rows it replaces."""
    dragging.follow(state.values(view_of.KEYS))


def _questions() -> dict[str, Question]:
    """Every panel, for the current values of the widgets."""
    return view_of.questions(view_of.settings_of(state.values(view_of.KEYS)))


@st.fragment(key=SEATS)
def seat_panels() -> None:
    """Who finds a seat by the scores alone, and with the biases that the rule has learned."""
    panel_of = _questions()
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
        controls.draw(rate, view_of.options_of, on_change=draw_rate)
        controls.draw(decay, view_of.options_of, width=120)
    grid = st.grid(6, min_column_width=130)
    for choice in view_of.PROBLEM:
        with grid.cell():
            controls.draw(choice, view_of.options_of)
    with grid.cell():
        controls.draw_seed(view_of.SEED)


def descent_panels() -> None:
    """On frozen tokens, step by step."""
    st.subheader("Distance to the best balanced assignment")
    st.markdown(text.SO_WHAT["dual"])
    st.markdown(text.DUAL_IN_WORDS)
    distance()
    st.subheader(theory.ACCOUNT)
    st.markdown(text.SO_WHAT["account"])
    of_the_descent("account")
    left, right = show.in_columns(2)
    with left:
        st.subheader("Moves between classes of experts")
        st.markdown(text.SO_WHAT["moves"])
        of_the_descent("moves")
    with right:
        st.subheader("Deviation from the balanced load")
        st.markdown(text.SO_WHAT["band"])
        of_the_descent("band")


@st.fragment(key=DISTANCE)
def distance() -> None:
    """The dual and its distance to the best assignment."""
    panel_of = _questions()
    pair(panel_of["theory_dual"], panel_of["theory_gap"], theory.DUAL_HOW)


def of_the_descent(name: str) -> None:
    """One panel of the descent."""

    def draw() -> None:
        show.question(_questions()[f"theory_{name}"], stays=True)

    st.fragment(draw, key=PANELS[name])()


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
