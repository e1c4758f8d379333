"""URL state: what a link asked for, said out loud where it cannot be had.

Streamlit binds widgets to query parameters and drops values that do not fit without a word. So
every bound widget goes through here: the parameter is read and checked first, a wrong one becomes a sentence
that stays until the visitor changes that value.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
NOTICES = "url_notices"


def asked(key: str) -> list[str]:
    """Every value that the URL gives for a parameter."""
    return list(st.query_params.get_all(key))


def is_deep_link() -> bool:
    """Whether the address asks for anything beyond the page."""
    return bool(st.query_params)


def notice(key: str, sentence: str) -> None:
    """Keep a sentence about a parameter, for as long as its fallback stays chosen."""
    st.session_state.setdefault(NOTICES, {})[key] = (st.session_state.get(key), sentence)


def show_notices(*keys: str) -> None:
    """Say what was wrong with these parameters of the link."""
    kept: dict[str, tuple[Any, str]] = st.session_state.get(NOTICES, {})
    for key in keys:
        if key in kept:
            fallback, sentence = kept[key]
            if st.session_state.get(key) == fallback:
                st.warning(sentence, icon=":material/link_off:")
            else:
                del kept[key]


def settle(key: str, options: Sequence[T], default: T, say: Callable[[str], str]) -> None:
    """Give `st.session_state[key]` a value that is among the options, before its widget is made.

    The URL counts on the first run of a session; a value that is not offered falls back to
    `default`, and `say(value)` tells the visitor. The widget itself is given no default.
    """
    if key in st.session_state:
        if st.session_state[key] not in options:
            st.session_state[key] = default
        return
    by_text = {str(option): option for option in options}
    wanted = asked(key)
    st.session_state[key] = by_text.get(wanted[-1], default) if wanted else default
    if wanted and wanted[-1] not in by_text:
        notice(key, say(wanted[-1]))


def settle_number(key: str, low: int, high: int, default: int, say: Callable[[str], str]) -> None:
    """The same for a whole number from `low` to `high`."""
    if key in st.session_state:
        value = st.session_state[key]
        st.session_state[key] = default if value is None else min(max(int(value), low), high)
        return
    wanted = asked(key)
    text = wanted[-1] if wanted else ""
    fits = text.isdecimal() and low <= int(text) <= high
    st.session_state[key] = int(text) if fits else default
    if wanted and not fits:
        notice(key, say(text))


def settle_flag(key: str, default: bool) -> None:
    """The same for a switch; anything but true and false counts as not given."""
    if key not in st.session_state:
        wanted = asked(key)
        text = wanted[-1].lower() if wanted else ""
        st.session_state[key] = text == "true" if text in ("true", "false") else default
