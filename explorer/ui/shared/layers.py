"""The picker of the MoE layer, which three pages share: it offers the model's own layer numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.layer_names import names_note
from explorer.ui.shared import show, urls
from explorer.wording import layers_of

MOST_BUTTONS = 32
"""Layers that have a button each; more are a list."""
OF_ONE_RUN = "Each layer has its own router and its own experts."
"""What the help says of the layers of a single run."""


def prepare(layers: Sequence[int], of: str) -> None:
    """Read `?layer=` before the picker is made; `of` says whose layers they are, e.g. `this run`."""
    urls.prepare_choice(
        "layer",
        layers,
        layers[0],
        lambda value: f"The link names layer {value}; {layers_of(of, layers)}. Layer {layers[0]} is shown.",
    )


def control(
    layers: Sequence[int], on_change: Callable[[], None] | None = None, *, tooltip: str | None = OF_ONE_RUN
) -> int:
    """The picker, bound to `?layer=`; the number of the chosen layer.

    Very many layers are a list: their buttons would fill five lines, or end beyond the edge of the page.
    """
    settings: dict[str, Any] = {
        "key": "layer",
        "bind": "query-params",
        "required": True,
        "help": tooltip,
        "on_change": on_change,
    }
    if len(layers) > MOST_BUTTONS:
        # Without a default, so that the address always names the layer, as with buttons.
        option = st.selectbox("MoE layer", list(layers), index=None, width=150, **settings)
    else:
        option = st.segmented_control("MoE layer", list(layers), **settings)
    return layers[0] if option is None else int(option)


def show_names(runs: Sequence[Run], layer: int) -> None:
    """What the runs call this layer, where they were recorded with names."""
    note = names_note(runs, layer)
    if note:
        show.note(note)
