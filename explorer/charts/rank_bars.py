"""Loads of very many experts at one step: bars of the busiest, a curve of the rest by rank."""

import math

import altair as alt
import polars as pl

from explorer.charts import linking, theme
from explorer.charts.scales import clipped_power, load_scale

ALONE = 32
"""Bars: the busiest experts."""
POINTS = 160
"""Points of the curve, evenly spaced on its axis."""
HEIGHT = 240
ROOMY_PX = 640
"""Width from which on every bar has room for its expert's number; below, every other one."""


def bars(frame: pl.DataFrame) -> pl.DataFrame:
    """The busiest experts, one row per bar: place (0 … ALONE), end, load_ratio, value (of the colour),
    expert, name, tokens. frame: columns of `queries.loads_at`.
    """
    return (
        _ranked(frame)
        .head(ALONE)
        .select(
            place=pl.col("rank").cast(pl.Float64) - 0.95,
            end=pl.col("rank").cast(pl.Float64) - 0.05,
            load_ratio=pl.col("load_ratio"),
            value=clipped_power(pl.col("load_ratio")),
            expert=pl.col("expert").cast(pl.Int32),
            name=pl.col("expert").cast(pl.String),
            tokens=pl.col("tokens").cast(pl.Int64),
        )
    )


def curve(frame: pl.DataFrame) -> pl.DataFrame:
    """The remaining experts by rank: at (its place right of the bars), rank, curve_ratio, curve_expert.

    At most `POINTS` of them; the first and the last are always among them.
    """
    ranked = _ranked(frame)
    count = ranked.height
    if count <= ALONE:
        return ranked.clear().select(
            at=pl.lit(0.0), rank=pl.lit(0), curve_ratio=pl.lit(0.0), curve_expert=pl.lit(0)
        )
    first = ALONE + 1
    ratio = count / first
    ranks = {round(first * ratio ** (i / (POINTS - 1))) for i in range(POINTS)}
    return ranked.filter(pl.col("rank").is_in(sorted(ranks))).select(
        at=pl.col("rank").map_elements(lambda rank: place(rank, count), return_dtype=pl.Float64),
        rank=pl.col("rank").cast(pl.Int64),
        curve_ratio=pl.col("load_ratio"),
        curve_expert=pl.col("expert").cast(pl.Int64),
    )


def place(rank: int, count: int) -> float:
    """Place of a rank beyond the bars on the axis: ALONE … 2 ALONE, logarithmic. count: of all experts."""
    first = ALONE + 1
    return ALONE * (1 + math.log(rank / first) / math.log(count / first)) if count > first else float(ALONE)


def rank_bars(frame: pl.DataFrame, *, title: str = "", scope: str | None = None) -> theme.Figure:
    """Bars of the `ALONE` busiest experts, and the loads of all others as one curve on a log axis of ranks.

    frame: columns of `queries.loads_at` with more than `ALONE` experts. All that changes from step to step
    are the rows of `bars` and `curve`.
    """
    if frame.is_empty():
        return theme.no_data("no expert loads recorded at this step", title=title)
    chart = alt.layer(
        *_curve(curve(frame)),
        *_bars(bars(frame), scope),
        _ranks(frame.height),
        *_even_share(),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=HEIGHT)
    return figure


def _ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """The experts from the busiest on with their `rank` from 1; equal loads by index."""
    ratios = frame.with_columns(pl.col("load_ratio").cast(pl.Float64).fill_null(0.0).fill_nan(0.0))
    ranked = ratios.sort(["load_ratio", "expert"], descending=[True, False])
    return ranked.with_columns(rank=pl.int_range(1, pl.len() + 1))


def _x(field: str, title: str | None = None) -> alt.X:
    scale = alt.Scale(domain=[0, 2 * ALONE], nice=False)
    axis = alt.Axis(labels=False, ticks=False, grid=False, titlePadding=30)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)


X_TITLE = f"the {ALONE} busiest experts, then all others by rank"


def _bars(rows: pl.DataFrame, scope: str | None) -> list[alt.Chart]:
    """The bars, and the experts' numbers under them."""
    base = alt.Chart(rows)
    marks = (
        base.mark_rect()
        .encode(
            x=_x("place", X_TITLE),
            x2=alt.X2("end:Q"),
            y=alt.Y("load_ratio:Q", title=theme.AXIS["load_ratio"], axis=alt.Axis(tickCount=5)),
            y2=alt.Y2(datum=0),
            color=alt.Color("value:Q", scale=load_scale(bars=True), legend=None),
            opacity=linking.by_highlight(1, 0.55, 1),
            tooltip=[
                alt.Tooltip("expert:Q", title="expert", format="d"),
                alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
                alt.Tooltip("tokens:Q", format=",d"),
            ],
        )
        .add_params(linking.hover(scope))
    )
    text = (
        base.transform_calculate(middle="(datum.place + datum.end) / 2")
        .mark_text(angle=270, align="right", baseline="middle", dx=-4, fontSize=9, clip=False)
        .encode(
            x=_x("middle", X_TITLE),
            y=alt.YValue(HEIGHT),
            text=alt.Text("name:N"),
            color=alt.ColorValue(theme.NEUTRAL_TEXT.expr),
            opacity=alt.OpacityValue(alt.expr(f"width < {ROOMY_PX} && floor(datum.place) % 2 ? 0 : 1")),
        )
    )
    return [marks, text]


def _curve(rows: pl.DataFrame) -> list[alt.Chart]:
    """The loads beyond the bars: an area with its upper edge, and points that the pointer meets."""
    base = alt.Chart(rows).encode(
        x=_x("at", X_TITLE), y=alt.Y("curve_ratio:Q", title=theme.AXIS["load_ratio"])
    )
    points = base.mark_point(opacity=0.001, size=40).encode(
        tooltip=[
            alt.Tooltip("rank:Q", format=",d"),
            alt.Tooltip("curve_expert:Q", title="expert", format="d"),
            alt.Tooltip("curve_ratio:Q", title="load, × uniform", format=".2f"),
        ]
    )
    area = base.mark_area(color=theme.REFERENCE_BAND.expr, opacity=0.6)
    edge = base.mark_line(color=theme.REFERENCE.expr, strokeWidth=1.6)
    return [area, edge, points]


def _ranks(count: int) -> alt.Chart:
    """Ranks under the curve: powers of two and the last."""
    powers = [2**k for k in range(6, 40) if 2**k < count / 1.5]
    ranks = [*powers, count]
    texts = [f"rank {ranks[0]:,}", *(f"{rank:,}" for rank in ranks[1:])]
    rows = pl.DataFrame({"tick": [place(rank, count) for rank in ranks], "tick_name": texts})
    text: alt.Chart = (
        alt.Chart(rows)
        .mark_text(baseline="top", dy=6, fontSize=11, clip=False, color=theme.NEUTRAL_TEXT.expr)
        .encode(
            x=_x("tick", X_TITLE),
            y=alt.YValue(HEIGHT),
            text=alt.Text("tick_name:N"),
        )
    )
    return text


def _even_share() -> list[alt.Chart]:
    """The dashed line at 1 with its name."""
    base = alt.Chart(pl.DataFrame({"even": [1.0], "even_name": ["uniform"]})).encode(y=alt.Y("even:Q"))
    rule = base.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
    text = base.mark_text(align="left", dx=6, fontSize=11, fontWeight=600, color=theme.STRONG_TEXT.expr)
    return [rule, text.encode(x=alt.XValue(alt.expr("width")), text=alt.Text("even_name:N"))]
