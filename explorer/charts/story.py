"""The one picture of the Overview: large, few words, readable from the back of a lecture hall."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import series, theme
from explorer.charts.balance import curve_layers
from explorer.charts.labels import IS_NARROW, SMALL_PX, EndLabel


def story(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    families: Mapping[str, str] | None = None,
    scopes: Mapping[str, str] | None = None,
    reference: float | None = None,
    curve: pl.DataFrame | None = None,
    title: str = "",
    height: int = 380,
) -> theme.Figure:
    """MaxVio over steps for three or four arms, thick lines with large names at their ends.

    frame: columns of `queries.max_vio_series`. `reference`: MaxVio of random routing at the end, and `curve`
    along the steps where the batch changes (see `balance.max_vio_curves`).
    """
    if frame.is_empty():
        return theme.no_data("no runs yet", title=title, height=height)
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    data = series.tidy(frame, styles, value="max_vio", low="max_vio_min", high="max_vio_max")
    if data.is_empty():
        return theme.no_data("no runs yet", title=title, height=height)
    big: dict[str, Any] = {"labelFontSize": _large(15), "titleFontSize": _large(16)}
    x = alt.X(
        "x:Q",
        title="step",
        scale=alt.Scale(zero=False, nice=False),
        axis=theme.step_axis(tickCount=5, **big),
    )
    y = alt.Y("value:Q", title="imbalance (MaxVio)", axis=alt.Axis(tickCount=4, format="~r", **big))
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=None)
    base = alt.Chart(data).encode(x=x, y=y, color=colour)
    # Flat ends: round ones would close the gaps of a dash.
    line = base.mark_line(strokeWidth=4, strokeJoin="round", interpolate="monotone").encode(
        strokeDash=alt.StrokeDash("run:N", scale=theme.dash_scale(styles), legend=None)
    )
    points = series.hover_points(base, "imbalance (MaxVio)")
    ends = series.run_end_labels(data, styles)
    references = [] if reference is None else [reference]
    ends += [EndLabel("random routing", value, theme.NEUTRAL_TEXT, strong=False) for value in references]
    text = series.label_layer(ends, data, height=height, zero=True, log_y=False, font_size=17)
    level = references if curve is None else []
    rules = [
        alt.Chart(pl.DataFrame({"value": [value]}))
        .mark_rule(color=theme.REFERENCE.expr, strokeDash=[6, 5], strokeWidth=2)
        .encode(y=alt.Y("value:Q"))
        for value in level
    ]
    figure: alt.LayerChart = theme.titled(
        alt.layer(*rules, *curve_layers(curve), line, points, *text), title=title, height=height
    )
    return figure


def _large(px: int) -> alt.ExprRef:
    """A size that can be read from the back of a hall; small on a phone, where it would halve the plot."""
    return alt.ExprRef(f"{IS_NARROW} ? {SMALL_PX} : {px}")
