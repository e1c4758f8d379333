"""URL state: reads the parameters of a link and reports those that cannot be followed.

Streamlit binds widgets to query parameters and drops values that do not fit without a word. So
every bound widget goes through here: the parameter is read and checked first, a wrong one becomes a sentence
that stays until the visitor changes that value.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import streamlit as st
from streamlit.errors import StreamlitAPIException

from explorer.figures.views.address import Address
from explorer.ui.shared import state
from explorer.ui.shared.plain import plain

T = TypeVar("T")
NOTICES = state.Memo[dict[str, tuple[Any, str]]]("url_notices", dict)
"""Parameter -> its value when a sentence was kept about it, and the sentence."""
MOST_LETTERS = 120
"""Of a value that a sentence repeats: more than a run id or the name of an arm has."""
MOST_VALUES = 100
"""Of one parameter."""
PAGE_OWN = {"serving": ("probe",)}
"""Page -> settings that it does not take over from another page's widget of the same name."""
PAGE = state.Slot[str | None]("url_page", None)
"""The page that is open."""
FRESH = state.Memo[set[str]]("url_fresh", set)
"""The parameters of the address that led to it which nothing has read yet."""


def values_of(key: str) -> list[str]:
    """Every value that the URL gives for a parameter."""
    return st.query_params.get_all(key)[:MOST_VALUES]


def quoted(value: str) -> str:
    """A value as a sentence repeats it: on one line, and an overlong one truncated.

    >>> quoted("a\\n\\nb")
    'a b'
    """
    line = " ".join(value[: 4 * MOST_LETTERS].split())
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}…"


def is_deep_link() -> bool:
    """Whether the address asks for anything beyond the page."""
    return bool(st.query_params)


def on_page_change(page: str) -> None:
    """Called before a page runs: if another page was open, the address takes precedence again.

    Without that a link inside the app would show what the visitor had chosen there before.
    """
    if PAGE.get() != page:
        PAGE.put(page)
        fresh = FRESH.get()
        fresh.clear()
        fresh.update(st.query_params)
        state.forget(*(key for key in PAGE_OWN.get(page, ()) if key not in fresh))


def is_fresh(key: str) -> bool:
    """Whether the address that led to this page gives a value that has not been read yet; true only once."""
    fresh = FRESH.get()
    if key not in fresh:
        return False
    fresh.discard(key)
    return True


def notice(key: str, sentence: str) -> None:
    """Keep a sentence about a parameter, for as long as its fallback stays chosen."""
    NOTICES.get()[key] = (state.value(key), sentence)


def show_notices(*keys: str) -> None:
    """Report what was wrong with these parameters of the link."""
    notices = NOTICES.get()
    for key in keys:
        if key in notices:
            fallback, sentence = notices[key]
            if state.value(key) == fallback:
                st.warning(plain(sentence), icon=":material/link_off:")
            else:
                del notices[key]


def has_notices(*keys: str) -> bool:
    """Whether the page says that one of these parameters could not be followed."""
    return not NOTICES.get().keys().isdisjoint(keys)


def prepare_choice(key: str, options: Sequence[T], default: T, say: Callable[[str], str]) -> None:
    """Give a widget a value that is among the options, before it is made.

    The URL counts when the visitor arrives at the page; a value that is not offered falls back to
    `default`, and `say(value)` tells the visitor. The widget itself is given no default.
    """
    if not is_fresh(key) and state.has(key):
        # Written back even if it fits: it may be what another page's widget of this name has left, and a
        # widget that is new takes only what the session was given.
        value = state.value(key)
        state.put(key, value if value in options else default)
        return
    address = _address(key)
    state.put(key, address.choice(key, options, default, rule=""))
    _tell(address, key, say)


def prepare_number(key: str, low: int, high: int, default: int, say: Callable[[str], str]) -> None:
    """The same for a whole number from `low` to `high`."""
    if not is_fresh(key) and state.has(key):
        value = state.value(key)
        state.put(key, default if value is None else min(max(int(value), low), high))
        return
    address = _address(key)
    state.put(key, address.number(key, low, high, default))
    _tell(address, key, say)


def prepare_flag(key: str, default: bool) -> None:
    """The same for a switch; anything but true and false counts as not given."""
    if not is_fresh(key) and state.has(key):
        value = state.value(key)
        state.put(key, value if isinstance(value, bool) else default)
        return
    state.put(key, _address(key).flag(key, default))


def _address(key: str) -> Address:
    """One parameter of the address, read as a command reads it (`figures.views.address`)."""
    return Address({key: values_of(key)})


def _tell(address: Address, key: str, say: Callable[[str], str]) -> None:
    """Keep the page's sentence about a value that did not fit."""
    if address.notices:
        notice(key, say(quoted(values_of(key)[-1])))


def selectbox(label: str, options: Sequence[str], *, key: str, **settings: Any) -> str:
    """A list box for names that come and go, such as runs; its value is set by `prepare_choice` before.

    It has no default of its own: a parameter that equals the default is left out of the address, and what is
    the first run today may be another one tomorrow. With `format_func` the list shows names, and the address
    still says which value.
    """
    settings |= {"index": None, "required": True, "key": key}
    if "format_func" not in settings:
        option = st.selectbox(label, options, bind="query-params", **settings)
        return str(option) if option is not None else state.text(key)
    return labelled_choice(st.selectbox, label, options, persist_state="session", **settings)


def labelled_choice(
    kind: Callable[..., Any],
    label: str,
    options: Sequence[str],
    default: str = "",
    *,
    key: str,
    **settings: Any,
) -> str:
    """A list box or slider that shows names (`format_func`), while the address says which option.

    Streamlit would write the name that is shown into the address, so the address is kept here. An option that
    is the default is left out of it; without a default every option is written.
    """
    in_url, written = (values_of(key) or [""])[-1], f"{key}_in_address"
    address = in_url or default
    if address in options and address != state.value(written, address):
        state.put(key, address)  # the visitor went back, or followed a link to this very page
    option = kind(label, options, key=key, **settings)
    value = str(option) if option is not None else state.text(key)
    if value == default:
        st.query_params.pop(key, None)
    elif value != in_url:
        st.query_params[key] = value
    state.put(written, value)
    return value


def labelled_multiselect(label: str, options: Sequence[str], *, key: str, **settings: Any) -> list[str]:
    """A list of several options that shows names (`format_func`), while the address says which options.

    Call `accept` where the value was read from the address before.
    """
    in_url, written = _nonempty_values(key), f"{key}_in_address"
    if in_url and set(in_url) <= set(options) and in_url != state.value(written, in_url):
        state.put(key, in_url)  # the visitor went back, or followed a link to this very page
    values: list[str] = st.multiselect(label, options, key=key, **settings)
    if not values:
        st.query_params.pop(key, None)
    elif values != in_url:
        st.query_params[key] = values
    state.put(written, values)
    return values


def accept(key: str) -> None:
    """The address has been read: until it changes, the value of the widget counts."""
    state.put(f"{key}_in_address", _nonempty_values(key))


def _nonempty_values(key: str) -> list[str]:
    """The values of a parameter that are not empty."""
    return [value for value in values_of(key) if value]


def number_input(label: str, low: int, high: int, default: int, *, key: str, **settings: Any) -> None:
    """A field for a whole number; its value is set by `prepare_number` before.

    Streamlit raises for an address that says infinity, so such a value is taken out of the address and the
    field is tied to the address from the next run on.
    """
    texts = values_of(key)
    readable = not texts or not _is_infinite(texts[-1])
    if not readable:
        with suppress(StreamlitAPIException):
            del st.query_params[key]
    st.number_input(
        label, low, high, default, step=1, key=key, bind="query-params" if readable else None, **settings
    )


def _is_infinite(text: str) -> bool:
    """Whether Python reads the text as infinity, as it does 1e999 and four hundred nines."""
    try:
        return math.isinf(float(text))
    except ValueError:
        return False
