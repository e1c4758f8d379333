"""One other rule on the probes of all selected runs; closed until it is opened."""

from collections.abc import Mapping, Sequence

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Question
from explorer.figures.views import compare_replay as view
from explorer.figures.views.counterfactual_choice import TO_OPEN
from explorer.metrics.glossary import tip
from explorer.ui.compare import controls as page_controls
from explorer.ui.compare import sections
from explorer.ui.shared import controls, links, show, state, store, urls
from explorer.ui.shared.store import STORE

TITLES = {"biases": "Bias trajectories", "loads": "Expert load", "swaps": "Swapped experts"}


@st.fragment(key=sections.fragment_of("replay"))
def section(arms: ArmSet) -> None:
    """Which experts another rule, K, group limit or number format would choose in every run."""
    sections.heading("replay", "counterfactual")
    offer = view.offer_of(STORE, arms, page_controls.settings(arms).layer)
    if missing := view.no_probe(offer):
        show.note(missing)
        links.page("microscope", "Runs that keep a probe, in the Microscope")
    if not offer.runs:
        return
    _read_address(offer)
    questions = view.questions(offer, state.values(view.KEYS))
    place = sections.body_if_open(
        "replay",
        TO_OPEN,
        [question for same_kind in questions.values() for question in same_kind],
    )
    if not place:
        return
    with place:
        urls.show_notices(*view.KEYS)
        st.segmented_control(
            "After updates",
            offer.steps,
            key=view.PROBE,
            bind="query-params",
            required=True,
            help=tip("probe_batch"),
        )
        controls.draw_grid(offer.choices, offer.options)
        with show.steady("replay"):
            _panels(offer, questions)


def _read_address(offer: view.ReplayOffer) -> None:
    urls.prepare_choice(
        view.PROBE,
        offer.steps,
        offer.default,
        lambda value: (
            f"The link asks for probe = {value}; {view.rule_of(offer)}. "
            f"The one after {offer.default} is used."
        ),
    )
    controls.read_address(offer.choices, offer.options)


def _panels(offer: view.ReplayOffer, questions: Mapping[str, Sequence[Question]]) -> None:
    """Imbalance of all runs, then the other panels of each; where a run cannot be replayed, why, once."""
    (imbalance,) = questions["imbalance"]
    refused = _refused(offer, questions["biases"])
    for reason in dict.fromkeys(refused.values()):
        names = [offer.arms.names[token] for token, why in refused.items() if why == reason]
        show.note(f"{', '.join(names)}: {reason}" if len(offer.runs) > 1 else reason)
    if len(refused) == len(offer.runs):
        return
    st.markdown(f"### Imbalance (MaxVio), layer {offer.layer}")
    show.question(imbalance, stays=True)
    for name, title in TITLES.items():
        st.markdown(f"### {title}, layer {offer.layer}")
        replayable = [question for question in questions[name] if question.arms.arms[0].token not in refused]
        for cell, question in zip(show.in_columns(len(replayable)), replayable, strict=True):
            with cell:
                if len(offer.runs) > 1:
                    st.markdown(f"**{show.plain(question.arms.title(question.arms.arms[0]))}**")
                show.question(question, stays=True)


def _refused(offer: view.ReplayOffer, biases: Sequence[Question]) -> dict[str, str]:
    """Token of each run that cannot be replayed -> why. The biases are missing for no other reason."""
    answers = zip(offer.arms, map(store.answer, biases), strict=True)
    return {arm.token: answer.reason for arm, answer in answers if isinstance(answer, Missing)}
