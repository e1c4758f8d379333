"""Widgets for settings whose value is one of a list: slider or list box, bound to an address parameter."""

from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

from explorer.figures.views.choice import MOST_SEED, Choice, Offer, default_of, rule_of
from explorer.ui.shared import state, urls


def read_address(choices: Iterable[Choice], offer: Offer) -> None:
    """Give each setting a value before its widget exists.

    A value that is not on offer becomes the default, and a sentence says so.
    """
    for choice in choices:
        offered = offer(choice, state.everything())
        default = default_of(choice, offered)
        urls.prepare_choice(
            choice.key, offered, default, _notice(choice.key, rule_of(choice, offered), default)
        )


def read_seed(key: str) -> None:
    """The same for a seed, a whole number."""
    notice = _notice(key, f"it must be a whole number from 0 to {MOST_SEED}", "0")
    urls.prepare_number(key, 0, MOST_SEED, 0, notice)


def read_playhead(key: str, last: int) -> None:
    """The same for a step from 0 to `last`, which is also the default."""
    notice = _notice(key, f"it must be a step from 0 to {last}", str(last))
    urls.prepare_number(key, 0, last, last, notice)


def _notice(key: str, rule: str, default: str) -> Callable[[str], str]:
    """The notice about a value that does not fit."""
    return lambda value: f"The link asks for {key} = {value}; {rule}. {default} is used."


def draw(
    choice: Choice, offer: Offer, width: Any = "stretch", on_change: Callable[[], None] | None = None
) -> None:
    """A slider for ordered values, a list box for names.

    An option is shown as sentences write it (`Choice.text_of`); the address keeps the option. The default is
    given although the session holds the value: Streamlit leaves a parameter out of the address when it has
    the widget's default. on_change: a callback, for a widget that moves more than its own fragment.
    """
    kind: Any = st.selectbox if choice.is_list else st.select_slider
    offered = offer(choice, state.everything())
    default = default_of(choice, offered)
    if any(choice.text_of(option) != option for option in offered):
        names = {"format_func": choice.text_of, "help": choice.help, "width": width, "on_change": on_change}
        urls.labelled_choice(kind, choice.label, offered, default, key=choice.key, **names)
        return
    start: dict[str, Any] = {"index": offered.index(default)} if choice.is_list else {"value": default}
    kind(
        choice.label,
        offered,
        **start,
        key=choice.key,
        bind="query-params",
        help=choice.help,
        width=width,
        on_change=on_change,
    )


def draw_grid(choices: Iterable[Choice], offer: Offer) -> None:
    """Several settings beside each other, four in a row of a wide page."""
    grid = st.grid(4, min_column_width=170)
    for choice in choices:
        with grid.cell():
            draw(choice, offer)


def draw_seed(key: str) -> None:
    """A field for a whole number."""
    urls.number_input("Seed", 0, MOST_SEED, 0, key=key, help="Random seed of all samples.")
