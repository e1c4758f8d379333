"""Loads of one step as bars against the uniform line."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from explorer.charts import linking, theme
from explorer.charts.scales import clipped_power, load_scale
from explorer.errors import one_of


def bar_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of `load_bars` in the order of experts, so that a kept chart can show another step."""
    return _with_colour(frame.sort("expert"))


def _with_colour(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `value`, the load in powers of two, which decides the colour."""
    # A layer without any token has no ratio, and then the column has no type either.
    ratio = pl.col("load_ratio").cast(pl.Float64)
    return frame.with_columns(
        pl.col("expert").cast(pl.Int32),
        ratio.fill_null(0.0).fill_nan(0.0),
        value=clipped_power(ratio),
    )


def load_bars(
    frame: pl.DataFrame,
    *,
    sort: str = "expert",
    title: str = "",
    height: int = 240,
    order: Sequence[int] | None = None,
    order_words: str = "",
    scope: str | None = None,
) -> theme.Figure:
    """One bar per expert, load relative to uniform; the line at 1 is what perfect balance looks like.

    frame: columns of `queries.loads_at` (one step, one layer). `sort`: "expert" keeps the index
    order, "load" puts the busiest first (a sorted curve shows imbalance better in a still). `order` is one
    of the caller's, from left to right, and `order_words` says which. The bar under the pointer
    gets an outline, with `scope` in all figures of the same (`charts.linking`).
    """
    one_of("sort", sort, ("expert", "load"))
    if frame.is_empty():
        return theme.no_data("no expert loads recorded at this step", title=title)
    ordered = frame.sort("load_ratio", descending=True) if sort == "load" else frame.sort("expert")
    data = _with_colour(ordered)
    rows = data["expert"].to_list() if order is None else [int(expert) for expert in order]
    x_title = theme.AXIS["expert"] + (", busiest first" if sort == "load" else order_words)
    bars = (
        alt.Chart(data)
        .mark_bar(cornerRadiusEnd=1)
        .encode(
            x=_across(rows, x_title, is_index=sort == "expert" and order is None),
            y=alt.Y("load_ratio:Q", title=theme.AXIS["load_ratio"], axis=alt.Axis(tickCount=5)),
            color=alt.Color("value:Q", scale=load_scale(bars=True), legend=None),
            opacity=linking.by_highlight(1, 0.55, 1),
            stroke=alt.StrokeValue(theme.PLAYHEAD.expr),
            strokeWidth=linking.by_highlight(2, 0, 0),
            tooltip=_tooltip(data),
        )
        .add_params(linking.hover(scope))
    )
    chart = alt.layer(bars, *_even_share())
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _across(experts: list[int], title: str, *, is_index: bool) -> alt.X:
    """The experts from left to right; of many, every n-th has its number, if they stand by index."""
    every = max(1, -(-len(experts) // 32))
    values = experts[::every] if is_index else (experts if len(experts) <= 32 else [])
    scale = alt.Scale(paddingInner=0.12 if len(experts) <= 96 else 0)
    return alt.X("expert:O", sort=experts, title=title, axis=linking.expert_axis(values), scale=scale)


def _tooltip(data: pl.DataFrame) -> list[alt.Tooltip]:
    """The numbers of a bar; bias and mean score only where they were recorded."""
    tooltip = [
        alt.Tooltip("expert:O"),
        alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
        alt.Tooltip("tokens:Q", format=",d"),
    ]
    for name, label, format in (("expert_bias", "bias", "+.4f"), ("mean_score", "mean score", ".4f")):
        if name in data.columns and data[name].null_count() < data.height:
            tooltip.append(alt.Tooltip(f"{name}:Q", title=label, format=format))
    return tooltip


def _even_share() -> list[alt.Chart]:
    """The dashed line at 1 with its name."""
    line = pl.DataFrame({"load_ratio": [1.0], "name": ["uniform"]})
    base = alt.Chart(line).encode(y=alt.Y("load_ratio:Q"))
    rule = base.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
    text = base.mark_text(align="left", dx=6, fontSize=11, fontWeight=600, color=theme.STRONG_TEXT.expr)
    return [rule, text.encode(x=alt.XValue(alt.expr("width")), text=alt.Text("name:N"))]
