"""Links between the pages."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer.figures import aux_loss_cost
from explorer.ui.server.places import PAGES
from explorer.ui.shared import show

CARDS = {
    "lessons": (":material/school:", "Lessons", "A guided course: guess first, then see what was measured."),
    "compare": (
        ":material/compare:",
        "Compare",
        "Two to six runs side by side: loads, biases, imbalance and perplexity.",
    ),
    "replay": (":material/play_circle:", "Replay", "Play one run: every expert's load, step by step."),
    "microscope": (
        ":material/biotech:",
        "Microscope",
        "One token in one router: scores, bias, choice, gates, and what each expert does.",
    ),
    "serving": (
        ":material/dns:",
        "Serving",
        "Expert placement with a verdict, the hot set, and batch-aware selection for any trace.",
    ),
    "playground": (
        ":material/science:",
        "Playground",
        "Two rules side by side on a simulated router, with your own settings.",
    ),
    "theory": (
        ":material/function:",
        "Theory",
        "The theory of loss-free balancing, checked on a simulation.",
    ),
    "train": (
        ":material/model_training:",
        "Train",
        "Train a small model in about a minute and watch it live.",
    ),
    "import": (
        ":material/upload_file:",
        "Import",
        "Traces and statistics from other systems, each with a report of what does not add up.",
    ),
    "gallery": (
        ":material/photo_library:",
        "Gallery",
        "The figures of the loss-free paper, redrawn from the shipped runs.",
    ),
    "evidence": (
        ":material/fact_check:",
        "Evidence",
        "Claims from the literature, each with an experiment, its verdict and its runs.",
    ),
    "glossary": (":material/menu_book:", "Glossary", "Every term and formula, with its source."),
}


def base_path() -> str:
    """What stands before the pages' own paths, e.g. `/moe` for an app behind a proxy at example.org/moe."""
    path = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}" if path else ""


def replay_url(run_id: str) -> str:
    """The address of a run in Replay; run ids are safe in a URL."""
    return f"{base_path()}/replay?run={run_id}"


def compare_url(run_id: str) -> str:
    """The address of a single run in Compare, for runs that have nothing to replay."""
    return f"{base_path()}/compare?runs={run_id}"


def page(name: str, label: str, **query: Any) -> None:
    """A link to a page, with its state in the URL."""
    st.page_link(PAGES / f"{name}.py", label=label, icon=CARDS[name][0], query_params=query or None)


def cost_of_the_auxiliary_loss() -> None:
    """A link to the card that puts the price of the auxiliary loss together."""
    page("evidence", aux_loss_cost.QUESTION)


def nothing_yet(name: str, sentence: str, ways: Mapping[str, str]) -> None:
    """A page without data: what it would show, why it cannot, and where to go from here.

    ways: page -> label of the link. The Playground needs no runs, so it is always among them.
    """
    show.note(CARDS[name][2])
    st.info(show.plain(sentence), icon=":material/inbox:")
    with st.container(horizontal=True, gap="small"):
        for other, label in {**ways, "playground": "Playground, which needs no runs"}.items():
            page(other, label)


def where_next() -> None:
    """Links shown at the end of the Overview."""
    st.subheader("Where to go next")
    grid = st.grid(3, min_column_width=270)
    for name, (_, label, text) in CARDS.items():
        with grid.container(border=True, height="stretch"):
            page(name, label)
            show.note(text)
