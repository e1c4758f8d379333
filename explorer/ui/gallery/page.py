"""The gallery: the figures of the Loss-Free Balancing paper, redrawn from the shipped runs.

Per figure: what the paper plots, ours, what ours shows, and where ours differs. Nothing here is trained at
the paper's scale, and no number of the paper is repeated.
"""

from collections.abc import Sequence

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.evidence_values import name_of, over_seeds
from explorer.figures.views import gallery
from explorer.metrics.glossary import tip
from explorer.ui.gallery.text import PAPER, SECTIONS, Section
from explorer.ui.shared import links, shell, show, store


def view(runs: Sequence[Run]) -> None:
    """Every figure of the paper in its order."""
    figures = gallery.figures(store.STORE, runs)
    if not figures:
        links.nothing_yet("gallery", gallery.NO_RUNS, {"evidence": "Evidence, whose results come along"})
        shell.follow_until(lambda runs: bool(gallery.ShippedRuns(tuple(runs)).runs))
        return
    st.markdown(
        f"The figures of [Wang et al. 2024]({PAPER}), *Auxiliary-Loss-Free Load Balancing Strategy for "
        "Mixture-of-Experts*, redrawn from the runs that come with this project. The paper trains "
        f"models of one and three billion parameters; ours have {gallery.ShippedRuns(tuple(runs)).size}. "
        "Compare shapes, not values."
    )
    for section in SECTIONS:
        _head(section)
        _over_seeds(section)
        if section.figure is not None:
            _draw(figures[section.figure])


def _head(section: Section) -> None:
    """What the paper plots, and where ours differs."""
    word = "Figures" if " " in section.number else "Figure"
    help_text = tip(section.topic) if section.topic else None
    st.subheader(f"{word} {section.number}: {section.title}", help=help_text)
    st.markdown(f"**The paper:** {section.paper}  \n**Ours:** {section.page}")


def _over_seeds(section: Section) -> None:
    """What paired seeds say about the figure's question."""
    cases = [(claim, sentence) for claim in section.claims if (sentence := over_seeds(claim))]
    if not cases:
        return
    lines = [
        f"**Paired seeds, first comparison of “{name_of(claim)}”:** {show.plain(sentence)}"
        for claim, sentence in cases
    ]
    st.markdown("  \n".join(lines))
    for claim, _ in cases:
        links.page("evidence", f"{name_of(claim)}: every seed", claim=claim)


@st.fragment
def _draw(figure: gallery.GalleryFigure) -> None:
    """The panel, or a note that names the missing runs."""
    if figure.question is None:
        show.note(figure.reason)
        return
    show.question(figure.question)
    if figure.number == 1:
        (arm,) = figure.question.arms
        links.page("replay", "Replay this run", run=arm.first.run_id, step=gallery.STEP)
