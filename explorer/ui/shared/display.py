"""How a page is shown: as usual, for a lecture (`?mode=lecture`), or one panel alone (`?embed=1&panel=…`).

Nothing is computed otherwise in any of them. Lecture mode hides the controls and enlarges the type; the
player and the keyboard stay. An embedded page shows one figure for a slide or a course page.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.ui.shared import panels, state, urls
from explorer.ui.shared.plain import plain

MODES = ("normal", "lecture")
KEY = "mode"
PANEL = "panel"
_UNKNOWN = state.Slot("unknown_panel", "")
"""A panel named by the link that the page turned out to lack: the page is then drawn as usual."""
FACTOR = 1.45
"""Enlargement of charts in lecture mode."""
LETTERS_PX, PHONE_LETTERS_PX = 21, 17
"""Root font size in lecture mode (normally 15); smaller on a phone, which is read from close up."""

# Sliders stay: the rate and the playhead are what a lecture moves.
_CONTROLS = (
    "stSelectbox",
    "stMultiSelect",
    "stNumberInput",
    "stTextInput",
    "stCheckbox",
    "stButtonGroup",
    "stExpander",
    "stDownloadButton",
)
# A button with a help text stands inside of what is elsewhere the sign of a help text: see _LECTURE.
# The place of a control must go with it, or its gap would stay.
_PLACES = ", ".join(
    f'[data-testid="stElementContainer"]:has(> [data-testid="{name}"]):not([class*="st-key-keep"] *)'
    for name in _CONTROLS
)
# Beside a sidebar of full width a tablet has room for half a chart.
_TABLET = """
@media (min-width: 641px) and (max-width: 1100px) {
  [data-testid="stPageLink"] :is(span, p) { white-space: normal; overflow: visible; }
  [data-testid="stSidebar"][data-collapsed="false"] { width: 232px !important; min-width: 232px !important; }
}
"""
# The pages' names end before the button that leaves lecture mode, which stands above everything.
_LECTURE = f"""
html {{ font-size: {LETTERS_PX}px !important; }}
@media (max-width: 500px) {{ html {{ font-size: {PHONE_LETTERS_PX}px !important; }} }}
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], [class*="st-key-controls"], .st-key-crumbs,
[data-testid="stTooltipIcon"]:not(:has(button[kind])) {{ display: none !important; }}
[data-testid="stExpander"]:not([class*="st-key-keep"] *, [class*="st-key-section_"] > *)
    {{ display: none !important; }}
{_PLACES} {{ display: none !important; }}
[data-testid="stTopNav"] {{ margin-right: 2.5rem !important; }}
.st-key-leave_lecture
    {{ position: fixed; right: 3.2rem; top: .35rem; width: auto; z-index: 1000000; opacity: .6; }}
.st-key-leave_lecture:hover, .st-key-leave_lecture:focus-within {{ opacity: 1; }}
"""


def _embedded(slug: str) -> str:
    """Hide everything but this panel, its containers, and notices about the address."""
    one = f".st-key-panel-{slug}"
    alert = '[data-testid="stAlert"]'
    panel_and_notices = f"{one} *, {one}, :has({one}), :has({alert}), {alert} *"
    places = ", ".join(
        f'[data-testid="{name}"]'
        for name in ("stElementContainer", "stLayoutWrapper", "stVerticalBlock", "stColumn", "stExpander")
    )
    return f"""
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], [data-testid="stHeader"]
    {{ display: none !important; }}
[data-testid="stMainBlockContainer"] {{ padding: .75rem 1rem !important; max-width: none !important; }}
[data-testid="stMainBlockContainer"] :is({places}):not({panel_and_notices}) {{ display: none !important; }}
[data-testid="stMainBlockContainer"] :has({one})
    {{ grid-template-columns: minmax(0, 1fr) !important; width: 100% !important;
       max-width: none !important; }}
"""


def is_lecture() -> bool:
    """Whether the page is shown in large type, for a room."""
    return bool(state.value(KEY) == "lecture")


def is_embedded() -> bool:
    """Whether one panel is shown alone: `embed` (which Streamlit hides from us), or a panel of this page."""
    name = _named_panel()
    return name != _UNKNOWN.get() if name else bool(st.context.is_embedded)


def _named_panel() -> str:
    return (urls.values_of(PANEL) or [""])[-1]


def read_mode() -> None:
    """Read the address: before anything is drawn."""
    urls.prepare_choice(
        KEY, MODES, "normal", lambda v: f"The link asks for mode = {v}; it can be normal or lecture."
    )


def apply_mode() -> None:
    """Style the page for its mode; in a lecture, draw the button that leaves it."""
    urls.show_notices(KEY)
    st.html(f"<style>{_TABLET}</style>")
    if is_lecture():
        st.html(f"<style>{_LECTURE}</style>")
        st.button(
            "Leave lecture mode", key="leave_lecture", icon=":material/close_fullscreen:", on_click=_leave
        )


def mode_control() -> None:
    """The switch, in the sidebar."""
    # The segments have the names that the address uses.
    st.segmented_control(
        "Display",
        MODES,
        key=KEY,
        bind="query-params",
        required=True,
        help="Lecture mode hides the controls and enlarges the text; the player and its keys stay.",
    )


def _leave() -> None:
    state.put(KEY, "normal")


def embed(place: DeltaGenerator) -> None:
    """Leave one panel of the page that has just been drawn.

    If the page has no such panel, it is drawn once more as usual, with a warning at `place`, above it.
    """
    keys, named = panels.page_figures().keys, _named_panel()
    name = named or (keys or [""])[0]
    is_known = name in keys
    if named and is_known == (named == _UNKNOWN.get()):
        _UNKNOWN.put("" if is_known else named)
        st.rerun()
    if named and not is_known:
        _warn_unknown(place.container(), named, keys)
    elif is_embedded() and is_known:
        st.html(f"<style>{_embedded(name)}</style>")


def _warn_unknown(place: DeltaGenerator, name: str, keys: Sequence[str]) -> None:
    """Say that the page lacks a panel, with a link to the panel of the most similar name."""
    sentence = (
        f"The link asks for the panel “{urls.quoted(name)}”, which this page does not have. "
        "The whole page is shown."
    )
    place.warning(plain(sentence), icon=":material/link_off:")
    address = [(key, value) for key in st.query_params if key != PANEL for value in urls.values_of(key)]
    for key in get_close_matches(name, keys, 1):
        link = urlencode([*address, (PANEL, key)])
        place.markdown(f"The most similar name is [{plain(key)}](?{link}).")
