"""Charts of served load: experts by window, coverage, hot set, popularity. Frames hold one row per mark."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import scales, theme

EMPHASIS = theme.Ink("#0B62A4", "#4AA8E0")
"""The selected layer."""
STRIP_PX = 48
"""Height of a strip with its label."""
HEIGHT = 280
NEAR_ONE = (0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 1, 1.01, 1.02, 1.03, 1.05, 1.1, 1.15, 1.2, 1.3)
WIDE = (
    *(m * 10.0**d for d in (-5, -4, -3, -2, -1) for m in (1, 2, 5)),
    *(1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64),
)
"""Marks of a logarithmic axis of loads over their mean, for values near 1 and others."""


def layer_axis(layers: Sequence[int], **settings: Any) -> alt.X:
    """MoE layers from left to right, as many numbers as fit."""
    every = max(1, -(-len(layers) // 15))
    axis = alt.Axis(values=list(layers)[::every], labelAngle=0, ticks=False, labelOverlap="greedy")
    return alt.X(
        "layer:O",
        sort=list(layers),
        title="MoE layer",
        axis=axis,
        scale=alt.Scale(type="point", padding=0.6),
        **settings,
    )


def ratio_axis(values: pl.Series) -> alt.Axis:
    """A logarithmic axis of loads over their mean, marked for the range of these values."""
    is_wide = max(1.0, *values) > 1.5 * min(1.0, *values)
    return alt.Axis(values=list(WIDE if is_wide else NEAR_ONE), format="~g", labelOverlap="greedy")


def strips(frame: pl.DataFrame, windows: Sequence[str], *, stays: bool = False) -> theme.Figure:
    """One strip of experts per window, all in the order of the first window's load.

    frame: window, rank, expert, tokens, load_ratio. windows: labels from top to bottom.
    stays: whether experts without tokens have a layer even where there are none, so that the frame of another
    MoE layer is a change of rows; its legend then stands elsewhere.
    """
    data = frame.with_columns(
        value=scales.clipped_power(pl.col("load_ratio")),
        state=pl.when(pl.col("tokens") == 0).then(pl.lit("no tokens")),
    )
    y = alt.Y("window:N", sort=list(windows), axis=None, title=None)
    experts = int(frame["rank"].n_unique())
    every = max(1, -(-experts // 8))
    x = alt.X(
        "rank:O",
        title="experts, by load in the first strip",
        axis=alt.Axis(
            values=list(range(every, experts + 1, every)), labelAngle=0, ticks=False, labelOverlap="greedy"
        ),
        scale=alt.Scale(padding=0),
    )
    tooltip = [
        alt.Tooltip("window:N"),
        alt.Tooltip("expert:O"),
        alt.Tooltip("rank:O", title="rank in the first strip"),
        alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
        alt.Tooltip("tokens:Q", title="assignments", format=",.0f"),
    ]
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    band = alt.RelativeBandSize(0.48)
    live = (
        base.transform_filter("datum.tokens > 0")
        .mark_rect(height=band)
        .encode(color=scales.load_colour("value"))
    )
    dead = (
        base.transform_filter("datum.tokens == 0").mark_rect(height=band).encode(color=scales.dead_colour())
    )
    names = (
        alt.Chart(pl.DataFrame({"window": list(windows)}))
        .mark_text(align="left", dy=-20, fontSize=12, color=theme.STRONG_TEXT.expr, clip=False)
        .encode(x=alt.XValue(0), y=y, text=alt.Text("window:N"))
    )
    layers = [live, dead, names] if stays or (frame["tokens"] == 0).any() else [live, names]
    chart = alt.layer(*layers).resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, height=STRIP_PX * len(windows))
    return figure


def coverage(frame: pl.DataFrame, layer: int, hot: float) -> theme.Figure:
    """Share of the load against share of the experts, busiest first; the diagonal is uniform load.

    frame: layer, share_of_experts, number, share_of_load. hot: share of the experts in the hot set.
    """
    x = alt.X("share_of_experts:Q", title="busiest experts (share of all)", axis=_percent(), scale=_unit())
    y = alt.Y("share_of_load:Q", title="share of the load", axis=_percent(), scale=_unit())
    tooltip = [
        alt.Tooltip("layer:O", title="MoE layer"),
        alt.Tooltip("number:Q", title="busiest experts"),
        alt.Tooltip("share_of_load:Q", title="share of the load", format=".1%"),
    ]
    base = alt.Chart(_with_shown(frame, layer)).encode(x=x, y=y, tooltip=tooltip)
    others = (
        base.transform_filter("!datum.is_shown")
        .mark_line(strokeWidth=1, opacity=0.35, color=theme.FAINT_LINE.expr)
        .encode(detail=alt.Detail("layer:N"))
    )
    bold = base.transform_filter("datum.is_shown").mark_line(strokeWidth=2.6, color=EMPHASIS.expr)
    ends = pl.DataFrame({"share_of_experts": [0.0, 1.0], "share_of_load": [0.0, 1.0]})
    diagonal = (
        alt.Chart(ends)
        .mark_line(strokeDash=[5, 4], strokeWidth=1.4, color=theme.REFERENCE.expr)
        .encode(x=x, y=y)
    )
    mark = (
        alt.Chart(pl.DataFrame({"share_of_experts": [hot]}))
        .mark_rule(strokeDash=[2, 3], strokeWidth=1.2, color=theme.REFERENCE.expr)
        .encode(x=x)
    )
    name = (
        alt.Chart(pl.DataFrame({"share_of_experts": [0.74], "share_of_load": [0.7], "text": ["uniform"]}))
        .mark_text(align="left", dx=8, dy=8, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
        .encode(x=x, y=y, text=alt.Text("text:N"))
    )
    chart = alt.layer(others, diagonal, mark, name, bold)
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure


def _with_shown(frame: pl.DataFrame, layer: int) -> pl.DataFrame:
    """The selected layer as a column: another one is then a change of rows, not of the chart."""
    return frame.with_columns(is_shown=pl.col("layer") == layer)


def _percent() -> alt.Axis:
    return alt.Axis(format="~%", tickCount=5)


def _unit() -> alt.Scale:
    return alt.Scale(domain=[0, 1], nice=False)


def persistence(frame: pl.DataFrame, layers: Sequence[int], chance: float, layer: int) -> theme.Figure:
    """Share of the hot set that stays hot, per layer, with the range over consecutive windows.

    frame: layer, mean, low, high. chance: the share that chance alone gives.
    """
    y = alt.Y("mean:Q", title="share of the hot set that stays", axis=_percent(), scale=_unit())
    tooltip = [
        alt.Tooltip("layer:O", title="MoE layer"),
        alt.Tooltip("mean:Q", title="mean overlap", format=".0%"),
        alt.Tooltip("low:Q", title="lowest", format=".0%"),
        alt.Tooltip("high:Q", title="highest", format=".0%"),
    ]
    base = alt.Chart(_with_shown(frame, layer)).encode(x=layer_axis(layers), tooltip=tooltip)
    ranges = base.mark_rule(strokeWidth=2, opacity=0.6, color=theme.FAINT_LINE.expr).encode(
        y=alt.Y("low:Q"), y2=alt.Y2("high:Q")
    )
    colour = alt.condition("datum.is_shown", alt.value(EMPHASIS.expr), alt.value(theme.NEUTRAL_TEXT.expr))
    dots = base.mark_point(filled=True, size=54, opacity=1).encode(y=y, color=colour)
    chart = alt.layer(*_level(chance, "random routing"), ranges, dots)
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure


def _level(value: float, name: str) -> list[alt.Chart]:
    """A dashed line across the plot with its name at the right."""
    base = alt.Chart(pl.DataFrame({"level": [value], "name": [name]})).encode(y=alt.Y("level:Q"))
    rule = base.mark_rule(strokeDash=[5, 4], strokeWidth=1.4, color=theme.REFERENCE.expr)
    text = base.mark_text(align="right", dy=-7, dx=-2, fontSize=11, color=theme.NEUTRAL_TEXT.expr).encode(
        x=alt.XValue(alt.expr("width")), text=alt.Text("name:N")
    )
    return [rule, text]


def quantiles(points: pl.DataFrame, line: pl.DataFrame) -> theme.Figure:
    """Loads of one layer's experts against the quantiles of a log-normal, which is a straight line.

    points: quantile, load_ratio, expert. line: quantile, load_ratio at its two ends.
    """
    x = alt.X("quantile:Q", title="quantile of a standard normal", axis=alt.Axis(grid=False, tickCount=6))
    y = alt.Y(
        "load_ratio:Q",
        title="load (× uniform)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=ratio_axis(points["load_ratio"]),
    )
    dots = (
        alt.Chart(points)
        .mark_point(filled=True, size=26, opacity=0.75, color=EMPHASIS.expr)
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("expert:O"),
                alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".3f"),
            ],
        )
    )
    fit = (
        alt.Chart(line)
        .mark_line(strokeDash=[5, 4], strokeWidth=1.6, color=theme.REFERENCE.expr)
        .encode(x=x, y=y)
    )
    figure: alt.LayerChart = theme.titled(alt.layer(fit, dots), height=HEIGHT)
    return figure


def input_lengths(means: pl.DataFrame, by_layer: pl.DataFrame) -> theme.Figure:
    """MaxVio against the tokens of an input: the mean as a line, every layer as a faint dot.

    means: input_tokens, max_vio. by_layer: the same with layer; it may be empty.
    """
    lengths = means["input_tokens"].to_list()
    x = alt.X(
        "input_tokens:Q",
        title="input tokens",
        scale=alt.Scale(type="log", base=2, domain=[min(lengths) * 0.8, max(lengths) * 1.25], nice=False),
        axis=alt.Axis(values=lengths, grid=False, format=","),
    )
    y = alt.Y("max_vio:Q", title=theme.AXIS["max_vio"], scale=alt.Scale(zero=True))
    dots = (
        alt.Chart(by_layer)
        .mark_point(filled=True, size=22, opacity=0.4, color=theme.FAINT_LINE.expr)
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("layer:O", title="MoE layer"),
                alt.Tooltip("max_vio:Q", title="MaxVio", format=".2f"),
            ],
        )
    )
    base = alt.Chart(means).encode(
        x=x, y=y, tooltip=[alt.Tooltip("max_vio:Q", title="mean MaxVio", format=".2f")]
    )
    line = base.mark_line(strokeWidth=2.4, color=EMPHASIS.expr)
    marks = base.mark_point(filled=True, size=70, opacity=1, color=EMPHASIS.expr)
    # Below a rising line and above a falling one, so that the line does not cross the number.
    values = means["max_vio"].to_list()
    dy = 13 if values[-1] >= values[0] else -13
    text = base.mark_text(
        align="left", dx=6, dy=dy, fontSize=12, fontWeight=600, color=theme.STRONG_TEXT.expr
    ).encode(text=alt.Text("max_vio:Q", format=".2f"))
    figure: alt.LayerChart = theme.titled(alt.layer(dots, line, marks, text), height=HEIGHT)
    return figure
