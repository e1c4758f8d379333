"""URL state: what a link asked for, said out loud where it cannot be had.

Streamlit binds widgets to query parameters and drops values that do not fit without a word. So
every bound widget goes through here: the parameter is read and checked first, a wrong one becomes a sentence.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")
NOTICES = "url_notices"


def asked(key: str) -> list[str]:
    """Every value that the URL gives for a parameter."""
    return list(st.query_params.get_all(key))


def notice(sentence: str) -> None:
    """Keep a sentence about the URL for the top of the page."""
    kept: list[str] = st.session_state.setdefault(NOTICES, [])
    if sentence not in kept:
        kept.append(sentence)


def show_notices() -> None:
    """Say what was wrong with the link, once."""
    for sentence in st.session_state.pop(NOTICES, []):
        st.warning(sentence, icon=":material/link_off:")


def settle(key: str, options: Sequence[T], default: T, say: Callable[[str], str]) -> None:
    """Give `st.session_state[key]` a value that is among the options, before its widget is made.

    The URL counts on the first run of a session; a value that is not offered falls back to
    `default`, and `say(value)` tells the visitor.
    """
    by_text = {str(option): option for option in options}
    if key not in st.session_state:
        wanted = asked(key)
        if wanted and wanted[-1] not in by_text:
            notice(say(wanted[-1]))
        st.session_state[key] = by_text.get(wanted[-1], default) if wanted else default
    elif st.session_state[key] not in options:
        st.session_state[key] = default
