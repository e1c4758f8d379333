"""Tokens on the seats of experts: the picture that the Theory page begins with."""

from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme

SEATS, ACROSS = 8, 4
"""Dots that stand for one expert's share of the assignments, and how many of them are side by side."""
SPACE = ACROSS + 1
"""Places of one expert on the x axis: its dots and the gap to the next."""
FEWEST_ROWS = 6
HEIGHT = 130
SEATED = theme.Ink("#0072B2", "#4AA8E0")
BEYOND = theme.Ink("#D55E00", "#F28A3C")


def dot_rows(dots: list[int]) -> pl.DataFrame:
    """Columns place, row, state of every dot and every empty seat, from the number of dots of each expert."""
    rows = [
        (
            SPACE * expert + n % ACROSS + 0.5,
            n // ACROSS + 0.5,
            "empty" if n >= count else "seated" if n < SEATS else "beyond",
        )
        for expert, count in enumerate(dots)
        for n in range(max(SEATS, count))
    ]
    return pl.DataFrame(rows, schema=["place", "row", "state"], orient="row")


def seats(dots: pl.DataFrame, feet: pl.DataFrame, rows: int) -> theme.Figure:
    """The dots of every expert with its number, load and bias below.

    dots: from `dot_rows`; feet: columns expert, tokens, bias. `rows`: of dots that the y axis has room for.
    """
    experts = feet.height
    dot = f"min(10, width / {SPACE * experts})"
    x = alt.X("place:Q", scale=alt.Scale(domain=[-0.5, SPACE * experts - 0.5], nice=False), axis=None)
    y = alt.Y("row:Q", scale=alt.Scale(domain=[0, max(rows, FEWEST_ROWS)], nice=False), axis=None)
    base = alt.Chart(dots).encode(x=x, y=y)
    size = alt.ExprRef(f"pow(0.8 * {dot}, 2)")
    filled = [
        base.transform_filter(f"datum.state == '{state}'").mark_point(
            size=size, filled=True, opacity=1, color=ink.expr
        )
        for state, ink in (("seated", SEATED), ("beyond", BEYOND))
    ]
    rings = base.transform_filter("datum.state == 'empty'").mark_point(
        size=size, filled=False, strokeWidth=1, color=theme.REFERENCE.expr
    )
    layers = [*filled, rings]
    figure: alt.LayerChart = theme.titled(alt.layer(*layers, *_feet(feet, experts)), height=HEIGHT)
    return figure


FEET: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (6, "expert:Q", "d", {"color": theme.NEUTRAL_TEXT.expr}),
    (20, "tokens:Q", ",d", {"color": theme.STRONG_TEXT.expr, "fontWeight": 600}),
    (34, "bias:Q", "+.2f", {"color": theme.NEUTRAL_TEXT.expr}),
)
"""Pixels below the plot, field, format and look of the lines of text."""


def _feet(feet: pl.DataFrame, experts: int) -> list[alt.Chart]:
    """The line above an expert's seats, and three lines of text below them."""
    middle = f"datum.expert * {SPACE} + {ACROSS / 2}"
    base = alt.Chart(feet).transform_calculate(
        place=middle, left=f"{middle} - 2.3", right=f"{middle} + 2.3", row=str(SEATS // ACROSS)
    )
    line = base.mark_rule(color=theme.STRONG_TEXT.expr, strokeWidth=1).encode(
        x=alt.X("left:Q"), x2=alt.X2("right:Q"), y=alt.Y("row:Q")
    )
    letters = alt.ExprRef(f"min(11, 0.34 * width / {experts})")
    texts = [
        base.mark_text(fontSize=letters, baseline="top", clip=False, dy=dy, **look).encode(
            x=alt.X("place:Q"), y=alt.YValue("height"), text=alt.Text(field, format=format)
        )
        for dy, field, format, look in FEET
    ]
    return [line, *texts]
