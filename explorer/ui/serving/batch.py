"""Batch-aware selection on recorded scores: its controls and four panels."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.views import serving as view
from explorer.figures.views import serving_choices as choices
from explorer.metrics.glossary import tip
from explorer.ui.serving import parts
from explorer.ui.shared import controls, show, state, urls
from explorer.wording import counted

TITLE = "Batch-aware selection"
HEADINGS = {
    "serving_distinct": "Distinct experts",
    "serving_latency": "Modelled latency",
    "serving_divergence": "Divergence of the weights",
    "serving_balance": "Balance of the experts in use",
}
ABOUT = (
    "When decoding, a layer's time grows with the number of distinct experts in the batch. Lynx and OEA "
    "make the tokens of a batch share experts; a smaller static k drops experts instead. Open loop: all "
    "policies select from scores recorded under full routing. The weights of the selected experts are "
    "renormalised."
)
POLICIES = "Settings of OEA, Lynx and the modelled latency"
"""Heading of settings that only readers of these papers would change."""
NO_PROBE = (
    "This run keeps no router scores, which batch-aware selection needs. Of the shipped runs, seed 0 of the "
    "four main rules has them."
)


def absent() -> None:
    """Say why the section is empty."""
    st.subheader(TITLE)
    show.note(NO_PROBE)


@st.fragment
def section(run: Run, options: choices.Options, steps: Sequence[int]) -> None:
    """Controls and panels; only this reruns when one of its controls moves."""
    st.subheader(TITLE, help=tip("batch_aware"))
    st.markdown(ABOUT)
    controls.read_address(choices.SELECTION, options.of)
    _read_probe(steps)
    urls.show_notices("probe", *(choice.key for choice in choices.SELECTION))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control(
            "After updates",
            list(steps),
            key="probe",
            bind="query-params",
            required=True,
            help=tip("probe_batch"),
        )
        controls.draw(choices.BATCHES, options.of, width=150)
    with (
        st.expander(POLICIES, icon=":material/tune:"),
        st.container(horizontal=True, vertical_alignment="bottom", gap="medium"),
    ):
        for choice in choices.SELECTION:
            if choice is not choices.BATCHES and len(options.of(choice, state.everything())) > 1:
                controls.draw(choice, options.of, width=150)
    _panels(run)


@st.fragment(key=parts.BATCHES)
def _panels(run: Run) -> None:
    """Another layer draws these alone."""
    settings = view.batches(
        state.values(choice.key for choice in choices.SELECTION),
        state.number("layer"),
        state.number("probe"),
    )
    questions = view.batch_questions(run, settings)
    show.note(f"Layer {settings.layer}, router scores after {counted(settings.probe, 'update')}.")
    for place, (key, heading) in zip(show.in_columns(len(HEADINGS)), HEADINGS.items(), strict=True):
        with place:
            st.markdown(f"#### {heading}")
            show.question(questions[key], stays=True)


def _read_probe(steps: Sequence[int]) -> None:
    urls.prepare_choice(
        "probe",
        list(steps),
        steps[-1],
        lambda value: (
            f"The link names the probe after {value} updates; this run was probed after "
            f"{', '.join(map(str, steps))}. The one after {steps[-1]} is shown."
        ),
    )
