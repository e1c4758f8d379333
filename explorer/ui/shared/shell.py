"""Status banners: index being built, replaced or failed."""

import time
from pathlib import Path

import streamlit as st

from explorer.ui.server.services import services
from explorer.ui.shared import cached, urls
from explorer.ui.shared.plain import plain

FIRST_ROUND_LIMIT_S = 90.0
LOOK_S = 0.05


# Chosen values are written in the primary colour, which is too dark to be read on a dark page: a colour that
# white letters on a button can be read on cannot be read on black itself. And "(required)" beside a list that
# always has a value asks for nothing.
_READABLE = """
[data-testid="stSliderThumbValue"], [data-testid="stSliderThumbValue"] p,
[data-testid="stButtonGroup"] button { color: inherit !important; }
[data-testid="stWidgetLabelRequired"] { display: none; }
"""


def readable_values() -> None:
    """Values of sliders and chosen segments in the colour of text."""
    st.html(f"<style>{_READABLE}</style>")


def is_reading() -> bool:
    """Whether the runs are still being taken in for the first time since the server started."""
    return services().ingest.rounds == 0


def wait_for_runs() -> None:
    """Hold a deep link back until the runs that it names can be known; other pages fill up as runs arrive."""
    if not is_reading():
        return
    # A warm index is ready within a moment, and then nothing needs to be drawn twice.
    _wait(0.6)
    if is_reading() and urls.is_deep_link():
        with st.spinner("Reading the recorded runs for the first time…"):
            _wait(FIRST_ROUND_LIMIT_S)


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while is_reading() and time.monotonic() < end:
        time.sleep(LOOK_S)


def show_index_state() -> None:
    """Sentences above the page, and the clock that follows the first reading."""
    owner = services()
    if owner.index.notice:
        st.warning(plain(owner.index.notice), icon=":material/database_off:")
    if owner.ingest.problem:
        st.error(plain(owner.ingest.problem), icon=":material/database_off:")
    report = owner.ingest.report
    for sentence in report.notices if report else ():
        st.warning(plain(sentence), icon=":material/folder_off:")
    if is_reading():
        _follow_reading()


@st.fragment(run_every=1.0)
def _follow_reading() -> None:
    """Say how far the first reading is; draw the page again when more can be shown."""
    known = len(cached.list_runs())
    total = sum(_folders(folder) for folder in services().settings.runs_dirs)
    if known < total:
        st.info(plain(f"Reading the recorded runs: {known} of {total}."), icon=":material/hourglass_top:")
    before = st.session_state.get("runs_read", known)
    st.session_state["runs_read"] = known
    if known != before or not is_reading():
        st.rerun()


def _folders(folder: Path) -> int:
    try:
        return sum(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return 0
