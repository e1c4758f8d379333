"""The panel "Run health": what is wrong with the run's router, each finding with a link to its place."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import streamlit as st

from explorer.errors import UnreadableRunError
from explorer.figures.arms import Run
from explorer.figures.layer_names import layer_name
from explorer.health import Finding
from explorer.health.loads import few_steps_note
from explorer.queries import diagnosis
from explorer.ui.replay import playhead
from explorer.ui.shared import show, store
from explorer.wording import listed

LINKS = 4
"""Layers of one kind of finding that have a link; the sentence names the others."""

SHOWN_ABOVE = "bad_counts"
"""Every page warns of it, where the run is named (`shared.count_notes`)."""


def panel(run: Run) -> None:
    """All findings of the run, or one line where nothing is wrong."""
    try:
        findings = store.ask(diagnosis.findings, run)
    except UnreadableRunError as error:
        show.note(f"Run health: {error}")
        return
    if not findings:
        note = few_steps_note(run.last_step + 1)  # at least as many as are recorded
        show.note(f"Run health: nothing wrong found{note}.")
        return
    findings = [finding for finding in findings if finding.kind != SHOWN_ABOVE]
    if not findings:
        return
    with st.container(key="run_health", border=True):
        st.markdown("### Run health")
        for kind, group in groupby(findings, key=lambda finding: finding.kind):
            _kind(run, kind, list(group))


def _kind(run: Run, kind: str, findings: Sequence[Finding]) -> None:
    """Findings of one kind: the sentence of the gravest layer, and the way to each."""
    worst = max(findings, key=lambda finding: finding.severity)
    layers = [finding.layer for finding in findings if finding.layer is not None]
    where = f" (layers {listed(layers)})" if len(layers) > 1 else ""
    name = "" if worst.layer is None else layer_name(run, worst.layer)
    named = f" :gray[:small[{show.plain(name)}]]" if name else ""
    st.markdown(f":red[**{worst.title}**]{where}. {show.plain(worst.sentence)}{named}")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for finding in _linked(findings, worst):
            place = "" if finding.layer is None else f"Layer {finding.layer}, "
            st.button(
                f"{place}step {finding.first_step:,}".capitalize(),
                type="tertiary",
                icon=":material/arrow_forward:",
                key=f"health_{kind}_{finding.layer}",
                on_click=partial(playhead.jump, run.last_step, _place(finding)),
                help="Go to this step.",
            )
        show.note(f"Try: {worst.try_this}")


def _linked(findings: Sequence[Finding], worst: Finding) -> list[Finding]:
    """The gravest one first, then the others by layer."""
    return [worst, *(finding for finding in findings if finding is not worst)][:LINKS]


def _place(finding: Finding) -> dict[str, int | None]:
    return {"step": finding.first_step, "layer": finding.layer, "expert": None}
