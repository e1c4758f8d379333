"""Which expert serves which domain."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from explorer.charts import linking, theme
from explorer.charts.scales import dead_colour, load_colour


def domain_expert_heatmap(
    frame: pl.DataFrame,
    *,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int | None = None,
    order: Sequence[int] | None = None,
    order_words: str = "",
    scope: str | None = None,
) -> theme.Figure:
    """Domains down, experts across, load relative to uniform *within the domain*.

    frame: columns of `queries.domain_expert`. A row of even colour is a domain without specialists. `order`:
    experts from left to right, by index without it; `order_words` says which. The column under the pointer
    gets an outline, with `scope` in all figures of the same (`charts.linking`).
    """
    if frame.is_empty():
        return theme.no_data("no loads by domain recorded", title=title)
    ratio = pl.col("load_ratio").fill_null(0.0).fill_nan(0.0)
    data = frame.select(
        "domain",
        pl.col("expert").cast(pl.Int32),
        pl.col("tokens").cast(pl.Int64),
        load_ratio=ratio.round(4),
        value=pl.when(ratio > 0).then(ratio.log(2).clip(-limit, limit)),
        state=pl.when(ratio > 0).then(pl.lit("some")).otherwise(pl.lit("no tokens")),
    )
    experts = sorted(data["expert"].unique().to_list()) if order is None else [int(e) for e in order]
    every = max(1, -(-len(experts) // 32))
    x_axis = alt.Axis(
        values=experts[::every],
        labelAngle=0,
        ticks=False,
        domain=False,
        labelOverlap="greedy",
        labelSeparation=4,
        labelFontWeight=linking.bold_label(),
    )
    across = alt.X(
        "expert:O",
        title=theme.AXIS["expert"] + order_words,
        axis=x_axis,
        sort=experts,
        scale=alt.Scale(padding=0),
    )
    base = alt.Chart(data).encode(
        x=across,
        y=alt.Y(
            "domain:N",
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelLimit=160),
            scale=alt.Scale(paddingInner=0.06, paddingOuter=0),
        ),
        tooltip=[
            alt.Tooltip("domain:N"),
            alt.Tooltip("expert:O"),
            alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
            alt.Tooltip("tokens:Q", format=",d"),
        ],
    )
    live = base.transform_filter("isValid(datum.value)").mark_rect()
    live = live.encode(color=load_colour("value", limit=limit, colour=colour))
    live = live.add_params(linking.hover(scope))
    dead = base.transform_filter("datum.state == 'no tokens'").mark_rect().encode(color=dead_colour())
    tall = height or max(120, 44 * data["domain"].n_unique())
    column = (
        alt.Chart(data)
        .transform_aggregate(groupby=["expert"])
        .encode(x=across, y=alt.YValue(0), y2=alt.Y2Value("height"), opacity=linking.when_lit(1, 0, 0))
    )
    # The page's colour around the line keeps it visible on any cell.
    halo = column.mark_rect(filled=False, stroke=alt.ExprRef("background"), strokeWidth=5)
    line = column.mark_rect(filled=False, stroke=theme.PLAYHEAD.expr, strokeWidth=2)
    chart = alt.layer(live, dead, halo, line).resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=tall)
    return figure
