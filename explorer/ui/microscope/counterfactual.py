"""Another rule on the scores of the page's probe; closed until it is opened."""

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Question
from explorer.figures.views import counterfactual_choice as choices
from explorer.figures.views import microscope as view
from explorer.metrics.glossary import tip
from explorer.ui.microscope import following
from explorer.ui.shared import controls, show, state, store, urls
from explorer.ui.shared.folded import body_if_open

TITLES = {
    "imbalance": "Imbalance (MaxVio)",
    "biases": "Bias trajectories",
    "loads": "Expert load",
    "swaps": "Swapped experts",
}


def questions(run: Run, step: int, layer: int) -> dict[str, Question]:
    """The panels for what the controls say now."""
    controls.read_address(choices.choices_of([run], layer), choices.offer_of([run], layer))
    return view.replay_questions(run, state.values(choices.KEYS), step, layer)


def section(run: Run, step: int, layer: int) -> None:
    """Which experts another rule, K, group limit or number format would choose on the recorded scores."""
    st.subheader(choices.HEADING, help=tip("counterfactual"))
    settings, offer = choices.choices_of([run], layer), choices.offer_of([run], layer)
    panel_of = questions(run, step, layer)
    place = body_if_open(
        "microscope_replay",
        choices.TO_OPEN,
        list(panel_of.values()),
        fragment=following.fragment_of(following.REPLAY),
    )
    if not place:
        return
    with place:
        urls.show_notices(*choices.KEYS)
        controls.draw_grid(settings, offer)
        with show.steady("replay"):
            _panels(panel_of)


def _panels(questions: dict[str, Question]) -> None:
    """The four panels; where the rule cannot act, the reason once."""
    answer = store.answer(questions["imbalance"])
    if isinstance(answer, Missing):
        show.note(answer.reason)
        return
    for cell, (name, title) in zip(show.in_columns(len(TITLES)), TITLES.items(), strict=True):
        with cell:
            st.markdown(f"### {title}")
            show.question(questions[name], stays=True)
