"""The state of one browser tab: the only module that touches Streamlit's session state.

The key of a widget is its parameter of the address. A page gives every widget a value before it is made
(`urls.prepare_choice`), reads the widgets into one frozen settings value (`number`, `text`, `values`), and
moves them from callbacks (`put`); Streamlit writes the address. What a page remembers besides is a `Slot` or
a `Memo`, declared once with its key and type.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import streamlit as st

T = TypeVar("T")


# --- Widgets ---


def has(key: str) -> bool:
    """Whether the widget has a value: it was drawn, or given one by `put`."""
    return key in st.session_state


def value(key: str, default: Any = None) -> Any:
    """The value of a widget, or `default` before it has one."""
    return st.session_state.get(key, default)


def text(key: str) -> str:
    """The value of a widget as text. Raises KeyError before it has one."""
    return str(st.session_state[key])


def number(key: str) -> int:
    """The value of a widget as a whole number. Raises KeyError before it has one."""
    return int(st.session_state[key])


def values(keys: Iterable[str]) -> dict[str, str]:
    """Key -> value of widgets as text. Raises KeyError for one without a value."""
    return {key: text(key) for key in keys}


def everything() -> Mapping[str, Any]:
    """All values by key, for options that depend on other widgets."""
    return cast(Mapping[str, Any], st.session_state)


def put(key: str, new: Any) -> None:
    """Give a widget a value: before it is made in this run, or from a callback."""
    st.session_state[key] = new


def put_all(new: Mapping[str, Any]) -> None:
    """The same for several widgets."""
    for key, one in new.items():
        put(key, one)


def forget(*keys: str) -> None:
    """Remove values; the next run gives these widgets their defaults."""
    for key in keys:
        st.session_state.pop(key, None)


def forget_all(prefix: str) -> None:
    """The same for every widget whose key starts so."""
    forget(*[str(key) for key in st.session_state if str(key).startswith(prefix)])


# --- Beside the widgets ---


@dataclass(frozen=True)
class Slot(Generic[T]):
    """One value that outlives a run of the page."""

    key: str
    default: T

    def get(self) -> T:
        """The value, or the default."""
        return cast(T, st.session_state.get(self.key, self.default))

    def put(self, new: T) -> None:
        st.session_state[self.key] = new

    def take(self) -> T:
        """The value, which is forgotten."""
        return cast(T, st.session_state.pop(self.key, self.default))


@dataclass(frozen=True)
class Memo(Generic[T]):
    """A mutable value, made on first use."""

    key: str
    make: Callable[[], T]

    def get(self) -> T:
        """The value, which may be changed in place."""
        if self.key not in st.session_state:
            st.session_state[self.key] = self.make()
        return cast(T, st.session_state[self.key])
