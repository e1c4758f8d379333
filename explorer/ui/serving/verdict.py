"""Placement and its verdict: windows A and B, the layout, the modelled time, the load by GPU."""

from functools import partial
from typing import Literal

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.panel import Panel, Question
from explorer.figures.serving.placement import rule_text
from explorer.figures.views import serving as view
from explorer.figures.views import serving_choices as choices
from explorer.metrics.glossary import tip
from explorer.ui.serving import parts
from explorer.ui.shared import controls, show, state, store

BADGES: dict[str, tuple[Literal["green", "gray", "orange"], str]] = {
    "Worth it": ("green", ":material/check_circle:"),
    "Not worth it": ("gray", ":material/do_not_disturb_on:"),
    "Too little evidence": ("orange", ":material/help:"),
}
"""Answer -> colour and icon."""


BY_GPU = {"serving_contiguous": "Contiguous experts", "serving_planned": "Planned placement"}
"""Panel of one layer in window B -> its heading."""


@st.fragment(key=parts.LAYOUT)
def section(run: Run, judged: Run, options: choices.Options) -> None:
    """The controls and the verdict."""
    st.subheader("Expert placement", help=tip("eplb"))
    _controls(options)
    least = view.placement_settings(state.values(choices.KEYS_OF_LOADS)).least
    _verdict(parts.questions(run, judged)["serving_verdict"], rule_text(least))


@st.fragment(key=parts.BY_GPU)
def by_gpu(run: Run, judged: Run) -> None:
    """The GPUs before and after, in one layer."""
    questions = parts.questions(run, judged)
    for place, (key, heading) in zip(show.in_columns(len(BY_GPU)), BY_GPU.items(), strict=True):
        with place:
            st.subheader(heading)
            show.question(questions[key], stays=True)


def _controls(options: choices.Options) -> None:
    keys = [*choices.WINDOW_PAIR, *choices.LAYOUT]
    if state.value(choices.PLACEMENT.key) == "global":
        keys.remove(choices.GROUPS)
    grid = st.grid(4, min_column_width=parts.LEAST_PX)
    for choice in keys:
        if len(options.of(choice, state.everything())) > 1:
            is_layout = choice in choices.LAYOUT
            moved = partial(parts.draw_layout, options) if is_layout else parts.draw_all
            with grid.cell():
                controls.draw(options.with_default(choice), options.of, on_change=moved)


def _verdict(question: Question, rule: str) -> None:
    """The answer as a badge, the sentence with its numbers, the chart and the rule."""
    panel = store.answer(question)
    assert isinstance(panel, Panel), "two windows of a run with loads always have a verdict"
    answer, _, sentence = panel.finding.partition(": ")
    colour, icon = BADGES[answer]
    st.badge(answer, color=colour, icon=icon)
    st.markdown(show.plain(sentence[0].upper() + sentence[1:]))
    show.draw(panel, key=question.key, stays=True, text=False)
    show.note(panel.how)
    with st.expander("How the answer follows from the counts", icon=":material/rule:"):
        st.markdown(show.plain(rule))
