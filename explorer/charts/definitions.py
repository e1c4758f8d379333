"""The same counts according to different metrics: where each lies between balance and the worst case."""

import altair as alt
import polars as pl

from explorer.charts import theme

ROW_PX = 24


def severity(frame: pl.DataFrame, *, title: str = "") -> theme.Figure:
    """One row per metric: 0 is its value at balance, 1 its value when all tokens take the same K experts.

    frame: columns figure (name of the metric), position (NULL where both ends are equal), value (text). Rows
    keep their order. Each point has its value beside it, so that no value must be read from the axis.
    """
    rows = frame.drop_nulls("position")
    if rows.is_empty():
        return theme.no_data("K = N: every choice is even, so no metric can change", title=title)
    names = rows["figure"].to_list()
    most = max(1.0, float(rows["position"].max() or 0.0))  # type: ignore[arg-type]
    # Room for the value behind the last point.
    scale = alt.Scale(domain=[0, 1.18 * most], nice=False)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1.0], format=".2~f", grid=True)
    x = alt.X("position:Q", title="0: balance, 1: worst case", scale=scale, axis=axis)
    names_axis = alt.Axis(labelLimit=260, ticks=False, domain=False, labelFontSize=12, labelFlush=False)
    base = alt.Chart(rows).encode(x=x, y=alt.Y("figure:N", sort=names, title=None, axis=names_axis))
    line = base.mark_rule(strokeWidth=2, color=theme.FAINT_LINE.expr).encode(x2=alt.datum(0))
    tooltip = [
        alt.Tooltip("figure:N", title="metric"),
        alt.Tooltip("value:N", title="value"),
        alt.Tooltip("position:Q", title="of the way to the worst case", format=".1%"),
    ]
    point = base.mark_circle(size=80, opacity=1, color=theme.EXPERT_INKS[0].expr).encode(tooltip=tooltip)
    text = base.mark_text(align="left", dx=9, fontSize=12, color=theme.STRONG_TEXT.expr).encode(
        text=alt.Text("value:N")
    )
    chart = alt.layer(line, point, text)
    figure: alt.LayerChart = theme.titled(chart, title=title, height=ROW_PX * len(names))
    return figure
