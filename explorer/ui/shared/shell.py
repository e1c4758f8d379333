"""Status banners: index being built, replaced or failed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from explorer.figures.arms import Run
from explorer.ui.server.services import services
from explorer.ui.shared import cached, state, urls
from explorer.ui.shared.plain import plain

FIRST_ROUND_LIMIT_S = 90.0
NAMED_RUN_LIMIT_S = 10.0
"""How long a link may wait for a run that was started a moment ago."""
LOOK_S = 0.05
FOLLOW_S = 2.0
"""Seconds between two checks for runs while a page has none to show."""
WITHOUT_RUNS = ("playground", "theory")
"""Paths of pages that show no recorded runs: nothing on them changes while runs are being read."""
_WAITED_FOR = state.Slot[set[str] | None]("runs_waited_for", None)
"""Runs of the link that was waited for last."""
_KNOWN = state.Slot[int | None]("runs_read", None)
"""Runs that were listed when their number was shown last."""


# Chosen values are written in the primary colour, which is too dark to be read on a dark page: a colour that
# white letters on a button can be read on cannot be read on black itself. And "(required)" beside a list that
# always has a value asks for nothing. A link in a sentence differs from it by more than its colour, and the
# line that opens a section is no fainter than other text. Segments are as high as the fields beside them, so
# that their labels stand on one line. No paragraph and no title ends in a line of one word. On a phone the
# name of a run has a line of its own. The name of a chosen run or rule may be longer than its box is wide:
# the box is as high as all names. Formats are listed in columns. A link to another view of the same page is
# not the current page. The icon of a link begins where text begins.
_READABLE = """
[data-testid="stSliderThumbValue"], [data-testid="stSliderThumbValue"] p,
[data-testid="stButtonGroup"] button { color: inherit !important; }
[data-testid="stWidgetLabelRequired"] { display: none; }
[data-testid="stMarkdownContainer"] :is(p, li) > a {
  text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: .18em;
  text-decoration-color: color-mix(in srgb, currentColor 45%, transparent); }
[data-testid="stMarkdownContainer"] :is(p, li) > a:hover { text-decoration-color: currentColor; }
[data-testid="stMarkdown"] :is(p, li) { text-wrap: pretty; }
[data-testid="stHeading"] :is(h1, h2, h3) { text-wrap: balance; }
[data-testid="stMultiSelect"] [data-rac][role="group"] { max-height: none !important; }
[data-testid="stMain"] [data-testid="stMultiSelect"] [data-rac] > [data-testid]:has([data-tag]) {
  flex-wrap: wrap; height: auto; max-height: none; mask: none; padding-block: .3rem; }
[data-testid="stMultiSelect"] [data-tag] { height: auto; max-width: 100%; }
[data-testid="stMultiSelect"] [data-tag] > span {
  max-width: none; white-space: normal; overflow-wrap: anywhere; line-height: 1.3; padding-block: .15rem; }
[class*="st-key-lesson_links"] a:not(:hover) { background: transparent !important; }
[data-testid="stExpander"] summary { opacity: 1 !important; }
.st-key-formats ul { columns: 3 17rem; }
[data-testid="stButtonGroup"] [data-variant="segmented_control"] { min-height: 2.5rem; }
[data-testid="stPageLink-NavLink"] :is(span:has(p), [data-testid="stMarkdownContainer"], p) {
  white-space: normal; }
[data-testid="stMain"] [data-testid="stPageLink"]:not(.st-key-starts *, .st-key-crumbs *) a {
  position: relative; left: -.5rem; }
.st-key-starts { align-items: center; margin-bottom: .75rem; }
.st-key-starts [data-testid="stPageLink"] a { padding: .45rem .9rem; }
.st-key-starts > :first-child a { background: #0b62a4; justify-content: center; padding: .55rem 1.4rem; }
.st-key-starts > :first-child a:hover { background: #0a548d; }
.st-key-starts > :first-child a :is(p, span) { color: #fff !important; }
@media (max-width: 640px) {
  .st-key-starts { margin-bottom: 0; }
  .st-key-starts > :first-child { min-width: 100%; }
  .st-key-starts > :first-child :is(div, a) { width: 100%; }
  .st-key-starts > :not(:first-child) a { padding-inline: .2rem; gap: .3rem; }
  .st-key-run_row { flex-wrap: wrap; }
  .st-key-run_row > :first-child { min-width: 100%; } }
"""


def readable_values() -> None:
    """Values of sliders and chosen segments in the colour of text."""
    st.html(f"<style>{_READABLE}</style>")


def is_reading() -> bool:
    """Whether the runs are still being taken in for the first time since the server started."""
    return services().ingest.rounds == 0


def wait_for_runs() -> None:
    """Hold a deep link back until the runs that it names can be known; other pages fill up as runs arrive."""
    if is_reading():
        # A warm index is ready within a moment, and then nothing needs to be drawn twice.
        _wait(is_reading, 0.6)
        if is_reading() and urls.is_deep_link():
            with st.spinner("Reading the recorded runs for the first time…"):
                _wait(is_reading, FIRST_ROUND_LIMIT_S)
    _wait_for_named_runs()


def _wait_for_named_runs() -> None:
    """Wait, once per link, for runs that it names and that have a folder but no rows in the index yet."""
    named = {run_id for key in ("run", "runs") for run_id in urls.values_of(key)}
    if not named or _WAITED_FOR.get() == named:
        return
    _WAITED_FOR.put(named)
    if _is_missing(named):
        with st.spinner("Reading the first steps of the run…"):
            _wait(lambda: _is_missing(named), NAMED_RUN_LIMIT_S)


def _is_missing(named: set[str]) -> bool:
    """Whether one of these runs has a folder, but is not listed or trains and has no loads yet."""
    listed = {run.run_id for run in cached.list_runs() if run.has_loads or not run.is_running}
    unlisted = named - listed
    if not unlisted or not any(unlisted & _folders(folder) for folder in services().settings.runs_dirs):
        return False
    services().ingest.wake()
    return True


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Until the condition no longer holds, at most this long."""
    end = time.monotonic() + seconds
    while condition() and time.monotonic() < end:
        time.sleep(LOOK_S)


@st.fragment(run_every=FOLLOW_S)
def follow_new_runs(runs: Sequence[Run]) -> None:
    """Draw the page again when runs appear, or get their first loads, that it could not show.

    For a page that has nothing to show. runs: as the page has them.
    """
    services().ingest.wake()
    if _usable(cached.list_runs()) != _usable(runs):
        st.rerun()


@st.fragment(run_every=FOLLOW_S)
def follow_until(has_some: Callable[[Sequence[Run]], bool]) -> None:
    """Draw the page again once the runs of the index hold what it lacks: a probe batch, say.

    For a page that has nothing to show. has_some: asked with every check, so it must be quick.
    """
    services().ingest.wake()
    if has_some(cached.list_runs()):
        st.rerun()


def _usable(runs: Sequence[Run]) -> set[tuple[str, bool]]:
    return {(run.run_id, run.has_loads) for run in runs}


def show_index_state(page: str) -> None:
    """Show the status banners above a page and the progress of the first read. page: its URL path."""
    owner = services()
    # Always one container: otherwise everything below would move up when a banner disappears, and the browser
    # would recreate it all, including a slider that is being dragged.
    with st.container():
        if owner.index.notice:
            st.warning(plain(owner.index.notice), icon=":material/database_off:")
        if owner.ingest.problem:
            st.error(plain(owner.ingest.problem), icon=":material/database_off:")
        report = owner.ingest.report
        for sentence in report.notices if report else ():
            st.warning(plain(sentence), icon=":material/folder_off:")
        if is_reading() and page not in WITHOUT_RUNS:
            _follow_reading()


@st.fragment(run_every=1.0)
def _follow_reading() -> None:
    """Say how far the first reading is; draw the page again when more can be shown."""
    num_runs = len(cached.list_runs())
    total = sum(len(_folders(folder)) for folder in services().settings.runs_dirs)
    if num_runs < total:
        st.info(plain(f"Reading the recorded runs: {num_runs} of {total}."), icon=":material/hourglass_top:")
    before = _KNOWN.get()
    _KNOWN.put(num_runs)
    if before not in (None, num_runs) or not is_reading():
        st.rerun()


def _folders(folder: Path) -> set[str]:
    """Names of the run folders in a folder."""
    try:
        return {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    except OSError:
        return set()
