"""Controls whose value is one of a list: slider or list box, bound to an address parameter and checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.ui.shared import urls

MOST_SEED = 9999
Offer = Callable[["Control"], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Control:
    """One value that can be chosen."""

    key: str
    """Name of the URL parameter and of the widget."""
    label: str
    options: tuple[str, ...]
    default: str
    help: str

    @property
    def is_list(self) -> bool:
        """A list for names, a slider for what has an order."""
        return not self.options[0][0].isdecimal()


def settle(controls: Iterable[Control], offer: Offer) -> None:
    """Read the address; a value that is not on offer falls back to the default, and a sentence says so."""
    for control in controls:
        offered = offer(control)
        default = default_of(control, offered)
        urls.settle(control.key, offered, default, _complaint(control, offered, default))


def default_of(control: Control, offered: Sequence[str]) -> str:
    """The default, or the last value on offer where it is not among them."""
    return control.default if control.default in offered else offered[-1]


def _complaint(control: Control, offered: Sequence[str], default: str) -> Callable[[str], str]:
    label = control.label[0].lower() + control.label[1:]

    def say(value: str) -> str:
        return (
            f"The link gives “{value}” for {control.key} ({label}); it must be one of {', '.join(offered)}. "
            f"{default} is used."
        )

    return say


def settle_seed(key: str) -> None:
    """The same for the seed, a whole number."""
    urls.settle_number(
        key,
        0,
        MOST_SEED,
        0,
        lambda text: (
            f"The link names seed {text}; it must be a whole number from 0 to {MOST_SEED}. 0 is used."
        ),
    )


def chosen(key: str) -> str:
    """The value of a control."""
    return str(st.session_state[key])


def draw(control: Control, offer: Offer, width: Any = "stretch") -> None:
    """A slider for values with an order, a list for names.

    The values are shown as they stand in the address. The default is given although the session holds the
    value: Streamlit leaves a parameter out of the address when it has the widget's default.
    """
    kind: Any = st.selectbox if control.is_list else st.select_slider
    offered = offer(control)
    default = default_of(control, offered)
    start: dict[str, Any] = {"index": offered.index(default)} if control.is_list else {"value": default}
    kind(
        control.label,
        offered,
        **start,
        key=control.key,
        bind="query-params",
        help=control.help,
        width=width,
    )


def draw_seed(key: str) -> None:
    """A whole number."""
    urls.number_input("Seed", 0, MOST_SEED, 0, key=key, help="Other draws of everything that is drawn.")
