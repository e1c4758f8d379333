"""Charts of expert placement: imbalance of experts, GPUs and nodes, slots by GPU, modelled time by layer."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.serving import layer_axis, ratio_axis

LEVELS = {
    "expert": theme.EXPERT_INKS[4],
    "GPU": theme.EXPERT_INKS[1],
    "node": theme.EXPERT_INKS[0],
}
"""Level -> its colour."""
BEFORE, AFTER, HINDSIGHT = "contiguous", "planned on A", "planned on B itself"
TIMES = {BEFORE: theme.FAINT_LINE, AFTER: theme.EXPERT_INKS[1], HINDSIGHT: theme.EXPERT_INKS[0]}
ONE_COPY, SEVERAL_COPIES = "one copy", "several copies"
COPIES = {ONE_COPY: theme.Ink("#B9CFE3", "#2B4A68"), SEVERAL_COPIES: theme.EXPERT_INKS[1]}
HEIGHT = 280
MOST_NAMED_NODES = 8
MOST_OUTLINED = 64
"""GPUs whose bars have room for outlines and gaps."""


def _legend(columns: int | alt.ExprRef = 3, symbol: str = "circle") -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=columns,
        symbolType=symbol,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        labelLimit=240,
    )


def _scale(inks: dict[str, theme.Ink], names: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(names), range=[inks[name].expr for name in names])


def _balanced() -> alt.Chart:
    """The dashed line at 1."""
    line: alt.Chart = (
        alt.Chart(pl.DataFrame({"level": [1.0]}))
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.4, color=theme.REFERENCE.expr)
        .encode(y=alt.Y("level:Q"))
    )
    return line


def levels(frame: pl.DataFrame, layers: Sequence[int]) -> theme.Figure:
    """Busiest over uniform load of each layer's experts, GPUs and nodes.

    frame: layer, level, ratio.
    """
    y = alt.Y(
        "ratio:Q",
        title="busiest / uniform load",
        scale=alt.Scale(type="log", base=2, nice=False, padding=6),
        axis=ratio_axis(frame["ratio"]),
    )
    names = [name for name in LEVELS if name in set(frame["level"])]
    base = alt.Chart(frame).encode(
        x=layer_axis(layers),
        y=y,
        color=alt.Color("level:N", scale=_scale(LEVELS, names), legend=_legend()),
        tooltip=[
            alt.Tooltip("level:N"),
            alt.Tooltip("layer:O", title="MoE layer"),
            alt.Tooltip("ratio:Q", title="busiest / mean", format=".2f"),
        ],
    )
    chart = alt.layer(
        _balanced(),
        base.mark_line(strokeWidth=1.4, opacity=0.7),
        base.mark_point(filled=True, size=36, opacity=1),
    )
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure


def slots(frame: pl.DataFrame, gpus: int, nodes: int, top: float) -> theme.Figure:
    """The expert copies on each GPU as stacked segments, GPUs of one node beside each other.

    frame: gpu, node, expert, copies, load, bottom, upper (load over the mean GPU's). top: end of the axis, so
    that several charts compare.
    """
    every = max(1, -(-gpus // 16))
    is_roomy = gpus <= MOST_OUTLINED  # beyond, outlines in the colour of the page would hide the bars
    x = alt.X(
        "gpu:O",
        title="GPU" if nodes == 1 else "GPU, by node",
        sort=list(range(gpus)),
        axis=alt.Axis(values=list(range(0, gpus, every)), labelAngle=0, ticks=False, labelOverlap="greedy"),
        scale=alt.Scale(paddingInner=0.14 if is_roomy else 0, paddingOuter=0.08),
    )
    y = alt.Y(
        "bottom:Q",
        title="load (× mean GPU)",
        scale=alt.Scale(zero=True, nice=False),
        axis=alt.Axis(tickCount=5),
    )
    # An invisible point and no domain: other loads are then a change of rows, not of the chart.
    end = alt.Chart(pl.DataFrame({"top": [float(top)]})).mark_point(opacity=0)
    colour = alt.Color("kind:N", scale=_scale(COPIES, list(COPIES)), legend=_legend(symbol="square"))
    data = frame.with_columns(
        kind=pl.when(pl.col("copies") > 1).then(pl.lit(SEVERAL_COPIES)).otherwise(pl.lit(ONE_COPY))
    )
    segments = (
        alt.Chart(data)
        .mark_bar(strokeWidth=0.6 if is_roomy else 0, stroke=alt.ExprRef("background"))
        .encode(
            x=x,
            y=y,
            y2=alt.Y2("upper:Q"),
            color=colour,
            tooltip=[
                alt.Tooltip("expert:O"),
                alt.Tooltip("gpu:O", title="GPU"),
                alt.Tooltip("node:O"),
                alt.Tooltip("copies:Q", title="copies of this expert"),
                alt.Tooltip("load:Q", title="load of this copy, × mean GPU", format=".3f"),
            ],
        )
    )
    reach = end.encode(y=alt.Y("top:Q"))
    chart = alt.layer(*_nodes(gpus, nodes, x), segments, _balanced(), reach)
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure


def _nodes(gpus: int, nodes: int, x: alt.X) -> list[alt.Chart]:
    """A pale band behind every second node, and the nodes' names above."""
    if nodes == 1:
        return []
    size = gpus // nodes
    shaded = pl.DataFrame({"gpu": [g for g in range(gpus) if g // size % 2 == 0]})
    band = (
        alt.Chart(shaded)
        .mark_bar(color=theme.REFERENCE_BAND.expr, opacity=0.28, width=alt.RelativeBandSize(1.16))
        .encode(x=x, y=alt.YValue(0), y2=alt.Y2Value("height"))
    )
    if nodes > MOST_NAMED_NODES:
        return [band]
    middle = pl.DataFrame(
        {"gpu": [n * size + size // 2 for n in range(nodes)], "name": [f"node {n}" for n in range(nodes)]}
    )
    # Between the two GPUs in the middle where their number is even.
    shift: dict[str, Any] = {
        "align": "center",
        "dx": alt.ExprRef(f"{'-width' if size % 2 == 0 else '0 * width'} / {2 * gpus}"),
    }
    text = (
        alt.Chart(middle)
        .mark_text(fontSize=11, baseline="bottom", dy=-4, clip=False, color=theme.NEUTRAL_TEXT.expr, **shift)
        .encode(x=x, y=alt.YValue(0), text=alt.Text("name:N"))
    )
    return [band, text]


def times(frame: pl.DataFrame, layers: Sequence[int]) -> theme.Figure:
    """Modelled time of each layer before and after, joined by a line; small ticks are the plan in hindsight.

    frame: layer, before, after, hindsight (time over that of balanced GPUs).
    """
    long = pl.concat(
        frame.select("layer", kind=pl.lit(kind), ratio=pl.col(column))
        for kind, column in ((BEFORE, "before"), (AFTER, "after"), (HINDSIGHT, "hindsight"))
    )
    colour = alt.Color(
        "kind:N", scale=_scale(TIMES, list(TIMES)), legend=_legend(theme.columns_that_fit(3, 420))
    )
    tooltip = [
        alt.Tooltip("layer:O", title="MoE layer"),
        alt.Tooltip("kind:N", title="placement"),
        alt.Tooltip("ratio:Q", title="time / balanced", format=".3f"),
    ]
    y = alt.Y("ratio:Q", title="busiest / mean GPU", scale=alt.Scale(zero=False, padding=8))
    x = layer_axis(layers)
    joined = (
        alt.Chart(frame)
        .mark_rule(strokeWidth=1.6, opacity=0.55, color=theme.FAINT_LINE.expr)
        .encode(x=x, y=alt.Y("before:Q"), y2=alt.Y2("after:Q"))
    )
    base = alt.Chart(long).encode(x=x, y=y, color=colour, tooltip=tooltip)
    dots = base.transform_filter(f"datum.kind != '{HINDSIGHT}'").mark_point(filled=True, size=52, opacity=1)
    ticks = base.transform_filter(f"datum.kind == '{HINDSIGHT}'").mark_tick(
        orient="horizontal", width=9, thickness=2, opacity=1
    )
    chart = alt.layer(_balanced(), joined, dots, ticks)
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure
