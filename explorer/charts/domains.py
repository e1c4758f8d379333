"""Which expert serves which domain."""

import json
from collections.abc import Sequence

import altair as alt
import polars as pl

from explorer.charts import linking, theme
from explorer.charts.scales import clipped_power, dead_colour, load_colour
from explorer.wording import DOMAINS

DOMAIN_LABEL = f"({json.dumps(DOMAINS)})[datum.label] || datum.label"
"""Vega expression: the name of a domain for the axis."""


def domain_expert_heatmap(
    frame: pl.DataFrame,
    *,
    title: str = "",
    height: int | None = None,
    order: Sequence[int] | None = None,
    order_words: str = "",
    scope: str | None = None,
) -> theme.Figure:
    """Domains down, experts across, load relative to uniform *within the domain*.

    frame: columns of `queries.domain_expert`. A row of uniform colour is a domain without specialist experts.
    `order`: experts from left to right, by index without it; `order_words` says which. The column under
    the pointer gets an outline, with `scope` in all figures of the same (`charts.linking`).
    """
    if frame.is_empty():
        return theme.no_data("no loads by domain recorded", title=title)
    data = heatmap_rows(frame)
    experts = sorted(data["expert"].unique().to_list()) if order is None else [int(e) for e in order]
    across = _across(experts, theme.AXIS["expert"] + order_words)
    base = alt.Chart(data).encode(
        x=across,
        y=alt.Y(
            "domain:N",
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelLimit=160, labelExpr=DOMAIN_LABEL),
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
    live = live.encode(color=load_colour("value"))
    # Named, or Altair names it after its rows, and every other layer would be another chart.
    live = live.add_params(linking.hover(scope)).properties(name="cells")
    dead = base.transform_filter("datum.state == 'no tokens'").mark_rect().encode(color=dead_colour())
    tall = height or max(120, 44 * data["domain"].n_unique())
    chart = alt.layer(live, dead, *_lit_column(data, across)).resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=tall)
    return figure


def heatmap_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of `domain_expert_heatmap`: the frame with value and state.

    value: log2 of the load ratio, clipped; state: whether there are tokens.
    """
    ratio = pl.col("load_ratio").fill_null(0.0).fill_nan(0.0)
    return frame.select(
        "domain",
        pl.col("expert").cast(pl.Int32),
        pl.col("tokens").cast(pl.Int64),
        load_ratio=ratio.round(4),
        value=pl.when(ratio > 0).then(clipped_power(ratio)),
        state=pl.when(ratio > 0).then(pl.lit("some")).otherwise(pl.lit("no tokens")),
    )


def _across(experts: list[int], title: str) -> alt.X:
    """The experts from left to right."""
    every = max(1, -(-len(experts) // 32))
    x_axis = linking.expert_axis(experts[::every], domain=False)
    return alt.X("expert:O", title=title, axis=x_axis, sort=experts, scale=alt.Scale(padding=0))


def _lit_column(data: pl.DataFrame, across: alt.X) -> list[alt.Chart]:
    """A frame around the column of the expert under the pointer."""
    column = (
        alt.Chart(data)
        .transform_aggregate(groupby=["expert"])
        .encode(x=across, y=alt.YValue(0), y2=alt.Y2Value("height"), opacity=linking.by_highlight(1, 0, 0))
    )
    return linking.outline(column, width=2, halo=5)
