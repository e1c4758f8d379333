"""Panels of the whole layer: load by domain for several methods, and router saturation."""

from collections.abc import Sequence

import streamlit as st

from explorer.charts import domain_panels
from explorer.figures import specialisation
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.views.microscope import domain_questions, saturation_question
from explorer.metrics.glossary import tip
from explorer.ui.shared import show
from explorer.ui.shared.store import STORE


@st.fragment
def domains_by_method(arms: Sequence[Arm], layer: int) -> None:
    """Held-out load by domain, one panel per picked arm, in the form of DeepSeek-V3's Figure 9."""
    st.subheader("Expert load by domain", help=tip("figure_nine"))
    recorded = specialisation.with_domain_loads(STORE, ArmSet.of(arms), layer)
    if not len(recorded):
        show.note(specialisation.NO_LOADS)
        return
    st.markdown(show.plain(specialisation.distances(STORE, recorded)))
    scale_legend(specialisation.scale_top(STORE, recorded, layer))
    questions = domain_questions(STORE, recorded, layer)
    for place, question in zip(show.in_columns(len(questions)), questions, strict=True):
        with place:
            show.question(question, stays=True)
    show.note(
        "A row of uniform colour is a domain without specialist experts. Expert numbers do not correspond "
        "across runs: compare how uneven the rows are, not columns."
    )


def scale_legend(top: float) -> None:
    """The linear colour scale that all panels share, with the balanced load marked."""
    dark = st.context.theme.type == "dark"
    inks = ",".join(ink.pick(dark) for ink in domain_panels.SEQUENTIAL)
    at, block = f"{100 / top:.2f}%", "display:block;position:relative"
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.4rem 1rem;font-size:.8rem">'
        f'<span>load / balanced load</span><span style="width:20rem"><span style="{block}">'
        f'<span style="display:block;height:.7rem;background:linear-gradient(90deg,{inks})"></span>'
        f'<span style="position:absolute;left:{at};top:-.15rem;height:1rem;border-left:2px solid"></span>'
        f'</span><span style="{block};height:1.2rem;margin-top:.2rem">'
        f"{_tick('0', '0', '0')}{_tick('100%', '-100%', f'{top:.1f}')}{_tick(at, '-50%', '1 = balanced')}"
        "</span></span></div>"
    )


def _tick(left: str, shift: str, label: str) -> str:
    style = f"position:absolute;left:{left};transform:translateX({shift});white-space:nowrap"
    return f'<span style="{style}">{label}</span>'


@st.fragment
def saturation(run: Run, layer: int) -> None:
    """How early in training the final expert choices were made."""
    st.subheader("Router saturation", help=tip("saturation"))
    show.question(saturation_question(run, layer), stays=True)
