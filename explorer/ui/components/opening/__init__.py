"""The opening of the app: what a router does, drawn, and two recorded layers that play side by side."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer.charts import scales, theme
from explorer.ui.components import modules

LEVELS = 254
"""Highest level of a load; one more is the level of an expert without tokens."""
FOLDER = Path(__file__).parent


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


_OPENING = st.components.v2.component(
    "moe_opening",
    html=_read("opening.html"),
    css=_read("opening.css"),
    js=modules.script(FOLDER / "opening.js"),
)


class Film(TypedDict):
    """One heatmap as the browser reads it."""

    title: str
    finding: str
    alt: str
    colours: tuple[str, str]
    """Of the rule: on light and on dark pages."""
    experts: int
    levels: str
    """Base64 of uint8[S, E]: see `levels`."""


def levels(load_ratio: NDArray[np.float64]) -> str:
    """Base64 of uint8[S, E]: places on the colour scale on 0 ... LEVELS, LEVELS + 1 for no tokens.

    load_ratio: [S, E] load over the uniform one.
    """
    scaled = np.rint(scales.place(load_ratio) * LEVELS)
    return base64.b64encode(np.where(load_ratio > 0, scaled, LEVELS + 1).astype(np.uint8).tobytes()).decode()


def opening(films: Sequence[Film], steps: Sequence[int]) -> None:
    """Draw it. steps: [S] the last step of each column."""
    inks = scales.stops()
    # No lists and dictionaries at the first level: Streamlit would load pandas to look whether they are
    # tables.
    data = {
        "films": tuple(films),
        "steps": tuple(steps),
        "low": scales.tick_label(-scales.LOAD_LIMIT).replace("×1/4", "¼ × uniform"),
        "high": scales.tick_label(scales.LOAD_LIMIT).replace("×4", "4 × uniform"),
        "colours": (
            {"stops": [ink.light for ink in inks], "dead": theme.DEAD.light},
            {"stops": [ink.dark for ink in inks], "dead": theme.DEAD.dark},
        ),
    }
    _OPENING(key="opening", data=data)
