"""The load colour scale: log2(load / uniform), centred on uniform, symmetric, clipped and marked so.

A linear scale would spend half of its colours on loads that cannot exist (a load is bounded below
by 0 and skewed above). Under-loaded experts are purple, over-loaded ones orange; the middle is the
page's own lightness, so that balance is calm and imbalance stands out in both themes. An expert
without any token has no logarithm and gets one flat colour of its own. On a dark page, where light
attracts the eye, under-loaded and idle experts stay darker than an expert with twice the uniform load.
"""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts.theme import DEAD, Ink, mix

LOAD_LIMIT = 2.0
"""Colours reach from a quarter of the uniform load to four times of it: log2 of the load ratio."""
_PUOR_LIGHT = (
    "#2D004B",
    "#542788",
    "#8073AC",
    "#B2ABD2",
    "#D8DAEB",
    "#F7F7F7",
    "#FEE0B6",
    "#FDB863",
    "#E08214",
    "#B35806",
    "#7F3B08",
)
_PUOR_DARK = (
    "#5D5296",
    "#534A86",
    "#494276",
    "#3F3A64",
    "#323048",
    "#242831",
    "#4A3A20",
    "#7C5219",
    "#B5701A",
    "#EB9A35",
    "#FFC876",
)


def stops() -> tuple[Ink, ...]:
    """The eleven colours from under- to overloaded (ColorBrewer's PuOr), which keep their two sides apart
    under simulated colour blindness."""
    return tuple(Ink(light, dark) for light, dark in zip(_PUOR_LIGHT, _PUOR_DARK, strict=True))


SEQUENTIAL = (
    Ink("#F1F4F8", "#171C25"),
    Ink("#CFE2F1", "#1B3550"),
    Ink("#97C6E2", "#1F5480"),
    Ink("#55A4CE", "#2F7DB3"),
    Ink("#2878B2", "#5DA9DA"),
    Ink("#144C86", "#9FD0F0"),
    Ink("#09264F", "#E3F3FF"),
)
"""From no load to the highest; reversed on a dark page, so that no load is inconspicuous on both."""
_BAR_MIDDLE = Ink("#B4BBC6", "#5A6272")


def bar_stops() -> tuple[Ink, ...]:
    """The same colours for bars: the middle is a grey, because a bar must be seen on the page itself."""
    shares = {0: 1.0, 1: 0.45, 2: 0.1}
    middle = len(stops()) // 2
    return tuple(
        Ink(
            mix(ink.light, _BAR_MIDDLE.light, shares.get(abs(i - middle), 0.0)),
            mix(ink.dark, _BAR_MIDDLE.dark, shares.get(abs(i - middle), 0.0)),
        )
        for i, ink in enumerate(stops())
    )


def clipped_power(load_ratio: pl.Expr) -> pl.Expr:
    """log2 of load ratios within ±LOAD_LIMIT, which decides the colour; no tokens: -LOAD_LIMIT."""
    return load_ratio.clip(2.0**-LOAD_LIMIT, 2.0**LOAD_LIMIT).log(2)


def place(load_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of load ratios on the scale, from 0 at its clipped lower end to 1 at the upper; same shape."""
    with np.errstate(divide="ignore"):
        power = np.log2(load_ratio)
    placed: NDArray[np.float64] = (np.clip(power, -LOAD_LIMIT, LOAD_LIMIT) + LOAD_LIMIT) / (2 * LOAD_LIMIT)
    return placed


def ticks() -> list[int]:
    """Whole powers of two within ±LOAD_LIMIT."""
    top = math.floor(LOAD_LIMIT)
    return list(range(-top, top + 1))


def tick_label(power: float) -> str:
    """-2 -> '≤ ×1/4' at the clipped end, 0 -> '×1', 1 -> '×2'."""
    text = f"×{2 ** int(power)}" if power >= 0 else f"×1/{2 ** -int(power)}"
    if abs(power) >= LOAD_LIMIT:
        return ("≥ " if power > 0 else "≤ ") + text
    return text


def tick_labels() -> list[str]:
    return [tick_label(t) for t in ticks()]


def load_scale(*, bars: bool = False) -> alt.Scale:
    """The same domain whatever the data, so that compared runs share it."""
    inks = bar_stops() if bars else stops()
    span = len(inks) - 1
    domain = [-LOAD_LIMIT + 2 * LOAD_LIMIT * i / span for i in range(span + 1)]
    return alt.Scale(domain=domain, range=[ink.expr for ink in inks], clamp=True, interpolate="rgb")


def load_legend(title: str = "load, × uniform") -> alt.Legend:
    labels = {t: tick_label(t) for t in ticks()}
    expression = "".join(f"datum.value == {t} ? '{text}' : " for t, text in labels.items()) + "''"
    return alt.Legend(
        title=title,
        orient="bottom",
        direction="horizontal",
        # As long as a narrow place allows between the title, to the left, and "no tokens".
        gradientLength=alt.ExprRef("clamp(width - 195, 120, 260)"),
        gradientThickness=10,
        values=list(labels),
        labelExpr=expression,
        titleOrient="left",
        titleAnchor="middle",
        # Fonts of other machines are wider.
        titlePadding=14,
        labelLimit=120,
        labelOverlap=False,
    )


def load_colour(field: str, *, legend: bool = True) -> alt.Color:
    """Colour by log2(load / uniform) already clipped into ±LOAD_LIMIT."""
    title_and_ticks = load_legend() if legend else None
    return alt.Color(f"{field}:Q", scale=load_scale(), legend=title_and_ticks)


def dead_colour(field: str = "state", *, legend: bool = True) -> alt.Color:
    """The flat colour of experts that received nothing, with its own legend entry."""
    key = (
        alt.Legend(title=None, orient="bottom", symbolType="square", symbolSize=140, symbolStrokeWidth=0)
        if legend
        else None
    )
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=["no tokens"], range=[DEAD.expr]), legend=key)


def updates_before_probe(steps: Sequence[float]) -> alt.X:
    """The x axis of probes: updates before each, logarithmic. steps: those that get a tick."""
    return alt.X(
        "x:Q",
        title="updates before the probe (logarithmic)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=list(steps), format="~f", grid=False),
    )


def log_ticks(low: float = 1e-3, high: float = 1e5) -> list[float]:
    """1, 2 and 5 in every decade: where a logarithmic axis gets a line and a number."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**d for d in decades for m in (1, 2, 5)]


def plotly_scale(*, dark: bool) -> list[list[float | str]]:
    """The same colours for Plotly, which cannot see its background."""
    inks: Sequence[Ink] = stops()
    return [[i / (len(inks) - 1), ink.pick(dark)] for i, ink in enumerate(inks)]
