"""Charts of two routings of the same tokens: agreement by layer and over probes, swaps, loads."""

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.scales import SEQUENTIAL, updates_before_probe

FIRST, SECOND = theme.Ink("#8A93A1", "#717A88"), theme.Ink("#2F3B4C", "#DCE1EA")
"""The two routings, wherever both are drawn: without a hue, since either may be of any rule."""
ROW_PX = 30
MOST_SWAP_EXPERTS = 64
"""Experts on each side of the matrix, at most."""


def by_layer(frame: pl.DataFrame, *, relabelled: bool) -> theme.Figure:
    """Shared assignments per layer as bars; ticks: what the loads alone predict; diamonds: after relabelling.

    frame: layer, overlap, by_loads, matched, shared, slots. relabelled: whether the diamonds are drawn.
    """
    y = _layer_axis(frame)
    base = alt.Chart(frame).encode(
        y=y,
        tooltip=[
            alt.Tooltip("layer:O"),
            alt.Tooltip("overlap:Q", title="shared assignments", format=".1%"),
            alt.Tooltip("by_loads:Q", title="from the loads alone", format=".1%"),
            *([alt.Tooltip("matched:Q", title="after relabelling", format=".1%")] if relabelled else []),
        ],
    )
    x = alt.X(
        "overlap:Q",
        title="share of the assignments",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    bars = base.mark_bar(color=FIRST.expr, cornerRadiusEnd=1, height=ROW_PX - 13).encode(x=x)
    tick = base.mark_tick(color=theme.STRONG_TEXT.expr, thickness=2, size=ROW_PX - 8)
    layers = [bars, tick.encode(x=alt.X("by_loads:Q"))]
    if relabelled:
        point = base.mark_point(
            shape="diamond", filled=False, size=90, strokeWidth=2, opacity=1, color=SECOND.expr
        )
        layers.append(point.encode(x=alt.X("matched:Q")))
    figure: alt.LayerChart = theme.titled(alt.layer(*layers), height=max(3, frame.height) * ROW_PX)
    return figure


def differing_tokens(frame: pl.DataFrame) -> theme.Figure:
    """Share of the tokens with any difference per layer. frame: layer, differing_share, differing, tokens."""
    bars = (
        alt.Chart(frame)
        .mark_bar(color=FIRST.expr, cornerRadiusEnd=1, height=ROW_PX - 13)
        .encode(
            y=_layer_axis(frame),
            x=alt.X(
                "differing_share:Q",
                title="share of the tokens",
                # The axis ends near the values: rounding a bias changes a few tokens in a thousand.
                scale=alt.Scale(domainMin=0, nice=True),
                axis=alt.Axis(format="~%", tickCount=4),
            ),
            tooltip=[
                alt.Tooltip("layer:O"),
                alt.Tooltip("differing:Q", title="tokens that differ", format=",d"),
                alt.Tooltip("tokens:Q", title="of", format=",d"),
                alt.Tooltip("differing_share:Q", title="share", format=".2%"),
            ],
        )
    )
    figure: alt.LayerChart = theme.titled(alt.layer(bars), height=max(3, frame.height) * ROW_PX)
    return figure


def _layer_axis(frame: pl.DataFrame) -> alt.Y:
    return alt.Y(
        "layer:O",
        sort=frame["layer"].to_list(),
        title="MoE layer",
        axis=alt.Axis(ticks=False, domain=False, labelOverlap="greedy"),
    )


def over_probes(frame: pl.DataFrame, *, layer: int, tokens: bool = False, height: int = 220) -> theme.Figure:
    """Shared assignments over the probes, one line per layer, `layer` bold; its prediction by loads dashed.

    frame: step (above 0), layer, overlap, by_loads, differing_share. tokens: draw the share of the tokens
    that differ instead, on an axis that ends near the values.
    """
    data = frame.select("layer", "overlap", "by_loads", "differing_share", x=pl.col("step").cast(pl.Float64))
    steps = sorted(data["x"].unique().to_list())
    base = alt.Chart(data).encode(
        x=updates_before_probe(steps),
        tooltip=[
            alt.Tooltip("x:Q", title="after updates", format="d"),
            alt.Tooltip("layer:O"),
            alt.Tooltip("overlap:Q", title="shared assignments", format=".1%"),
            alt.Tooltip("differing_share:Q", title="tokens that differ", format=".2%"),
            alt.Tooltip("by_loads:Q", title="from the loads alone", format=".1%"),
        ],
    )
    y = _probe_axis(tokens=tokens)
    selected = base.transform_filter(f"datum.layer == {layer}")
    point = alt.OverlayMarkDef(color=SECOND.expr)
    bold = selected.mark_line(color=SECOND.expr, strokeWidth=2.6, point=point)
    faint = base.mark_line(color=theme.FAINT_LINE.expr, strokeWidth=1.2)
    layers = [faint.encode(y=y, detail=alt.Detail("layer:N")), bold.encode(y=y)]
    if not tokens:
        chance = selected.mark_line(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
        layers.append(chance.encode(y=alt.Y("by_loads:Q")))
    figure: alt.LayerChart = theme.titled(alt.layer(*layers), height=height)
    return figure


def _probe_axis(*, tokens: bool) -> alt.Y:
    if tokens:
        return alt.Y(
            "differing_share:Q",
            title="tokens that differ",
            scale=alt.Scale(domainMin=0, nice=True),
            axis=alt.Axis(format="~%", tickCount=4),
        )
    return alt.Y(
        "overlap:Q",
        title="shared assignments",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", tickCount=5),
    )


def swaps(frame: pl.DataFrame, *, experts: list[int]) -> theme.Figure:
    """Tokens that leave an expert (down) and gain another (across), as colour from none to the most.

    frame: expert, other, tokens; every pair of `experts`.
    """
    last = len(SEQUENTIAL) - 1
    top = max(1, int(frame["tokens"].max() or 0))  # type: ignore[arg-type]
    scale = alt.Scale(
        domain=[top * i / last for i in range(last + 1)],
        range=[ink.expr for ink in SEQUENTIAL],
        interpolate="rgb",
    )
    every = max(1, -(-len(experts) // 16))
    axis = alt.Axis(values=experts[::every], labelAngle=0, ticks=False, domain=False, labelOverlap="greedy")
    cells = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X(
                "other:O", sort=experts, title="to expert", axis=axis, scale=alt.Scale(paddingInner=0.04)
            ),
            y=alt.Y(
                "expert:O", sort=experts, title="from expert", axis=axis, scale=alt.Scale(paddingInner=0.04)
            ),
            color=alt.Color(
                "tokens:Q",
                scale=scale,
                legend=alt.Legend(
                    title="tokens", format=",d", gradientLength=140, values=sorted({0, top // 2, top})
                ),
            ),
            tooltip=[
                alt.Tooltip("expert:O", title="from expert"),
                alt.Tooltip("other:O", title="to expert"),
                alt.Tooltip("tokens:Q", format=",d"),
            ],
        )
    )
    tall = min(420, max(160, 20 * len(experts)))
    figure: alt.LayerChart = theme.titled(alt.layer(cells), height=tall)
    return figure


def both_loads(frame: pl.DataFrame, *, names: tuple[str, str], height: int = 240) -> theme.Figure:
    """Loads of both routings per expert. frame: expert, routing (of `names`), load_ratio, tokens."""
    experts = sorted(frame["expert"].unique().to_list())
    every = max(1, -(-len(experts) // 32))
    bars = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=1)
        .encode(
            x=alt.X(
                "expert:O",
                sort=experts,
                title=theme.AXIS["expert"],
                axis=alt.Axis(values=experts[::every], labelAngle=0, ticks=False, labelOverlap="greedy"),
                scale=alt.Scale(paddingInner=0.25),
            ),
            xOffset=alt.XOffset("routing:N", sort=list(names)),
            y=alt.Y("load_ratio:Q", title=theme.AXIS["load_ratio"], axis=alt.Axis(tickCount=5)),
            color=alt.Color(
                "routing:N",
                sort=list(names),
                scale=alt.Scale(domain=list(names), range=[FIRST.expr, SECOND.expr]),
                legend=alt.Legend(title=None, orient="top", labelLimit=420, columns=1),
            ),
            tooltip=[
                alt.Tooltip("expert:O"),
                alt.Tooltip("routing:N"),
                alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
                alt.Tooltip("tokens:Q", format=",d"),
            ],
        )
    )
    line = alt.Chart(pl.DataFrame({"load_ratio": [1.0]})).encode(y=alt.Y("load_ratio:Q"))
    rule = line.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
    figure: alt.LayerChart = theme.titled(alt.layer(bars, rule), height=height)
    return figure
