"""Agreement of two routings: two runs or two probes route the same tokens; closed until it is opened."""

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.views import compare
from explorer.ui.compare import controls, sections
from explorer.ui.shared import agreement, show
from explorer.ui.shared.store import STORE


@st.fragment(key=sections.fragment_of("agreement"))
def section(arms: ArmSet) -> None:
    """Which experts two runs, two probes or a rounded bias choose for the same tokens."""
    sections.heading("agreement", "routing_agreement")
    offer = compare.agreement_offer(STORE, arms)
    if offer is None:
        show.note(compare.NO_PROBE)
        return
    values = agreement.read_address(offer)
    layer = controls.settings(arms).layer
    questions = compare.agreement_questions(offer, values, layer)
    place = sections.body_if_open(
        "agreement", "Show which experts two routings choose for the same tokens", list(questions.values())
    )
    if place:
        with place:
            agreement.controls(offer, values)
            agreement.panels(questions)
