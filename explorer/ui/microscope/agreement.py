"""The probe of the page against another routing of the same tokens; closed until it is opened."""

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.views import microscope as view
from explorer.metrics.glossary import tip
from explorer.ui.microscope import following
from explorer.ui.shared import agreement
from explorer.ui.shared.folded import body_if_open


def section(runs: tuple[Run, ...], run: Run, probes: dict[str, view.Probes], step: int, layer: int) -> None:
    """Agreement with another run, another probe, or this one with its bias rounded."""
    st.subheader("Agreement with another routing", help=tip("routing_agreement"))
    offer = view.agreement_offer(runs, run, probes, step)
    values = agreement.read_address(offer)
    panel_of = view.agreement_questions(offer, values, layer)
    place = body_if_open(
        "microscope_agreement",
        "Show which experts another run, another probe or a rounded bias chooses",
        list(panel_of.values()),
        fragment=following.fragment_of(following.AGREEMENT),
    )
    if place:
        with place:
            agreement.controls(offer, values)
            agreement.panels(panel_of)
