"""Paired differences between two arms: the mean, its 95 % interval and every seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme

ROW_PX = 46


def paired_differences(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> theme.Figure:
    """One row an arm, one panel a metric; a dot, its interval, a tick a seed and the line at zero.

    rows: mappings with metric, arm, mean, half_width (None with one seed), resolved, values (the
    difference of every seed) and optionally family. An interval that covers zero is drawn hollow
    and says "not resolved".
    """
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    if not metrics:
        return theme.no_data("no pairs: two arms with equal seeds are needed", title=title)
    panels = [_panel([row for row in rows if str(row["metric"]) == metric], metric) for metric in metrics]
    if len(panels) == 1:
        single: alt.LayerChart = theme.titled(panels[0], title=title)
        return single
    sized = [theme.titled(panel, width=theme.CONCAT_WIDTH) for panel in panels]
    chart = alt.vconcat(*sized, spacing=26).resolve_scale(x="independent", color="independent")
    figure: alt.VConcatChart = theme.titled(chart, title=title, width="")
    return figure


def _panel(rows: Sequence[Mapping[str, Any]], metric: str) -> alt.LayerChart:
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    data = pl.DataFrame(
        [
            {
                "arm": str(row["arm"]),
                "mean": float(row["mean"]),
                "low": float(row["mean"]) - float(row["half_width"] or 0.0),
                "high": float(row["mean"]) + float(row["half_width"] or 0.0),
                "family": str(row.get("family", "none")),
                "resolved": bool(row["resolved"]),
                "verdict": _verdict(row),
            }
            for row in rows
        ]
    )
    seeds = pl.DataFrame(
        [
            {"arm": str(row["arm"]), "family": str(row.get("family", "none")), "value": float(value)}
            for row in rows
            for value in row["values"]
        ],
        schema={"arm": pl.String, "family": pl.String, "value": pl.Float64},
    )
    families = list(theme.FAMILIES)
    scale = alt.Scale(domain=families, range=[theme.FAMILIES[f].expr for f in families])
    colour = alt.Color("family:N", scale=scale, legend=None)
    y = alt.Y(
        "arm:N", sort=arms, title=None, axis=alt.Axis(labelLimit=230, ticks=False, domain=False, grid=False)
    )
    x_axis = alt.Axis(tickCount=6, format="+~g")
    span = alt.X(
        "low:Q", title=f"difference in {metric}", axis=x_axis, scale=alt.Scale(zero=True, padding=14)
    )
    tips = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("mean:Q", title="mean difference", format="+.4g"),
        alt.Tooltip("low:Q", title="95 % from", format="+.4g"),
        alt.Tooltip("high:Q", title="to", format="+.4g"),
        alt.Tooltip("verdict:N", title="reading"),
    ]
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=theme.STRONG_TEXT.expr, strokeWidth=1.2)
    base = alt.Chart(data).encode(y=y)
    interval = base.mark_rule(strokeWidth=2.4).encode(x=span, x2="high:Q", color=colour, tooltip=tips)
    ticks = alt.Chart(seeds).mark_tick(size=14, thickness=1.6, opacity=0.6)
    ticks = ticks.encode(
        y=y, x="value:Q", color=colour, tooltip=[alt.Tooltip("value:Q", title="one seed", format="+.4g")]
    )
    solid = base.transform_filter("datum.resolved").mark_point(filled=True, size=130, opacity=1)
    hollow = base.transform_filter("!datum.resolved").mark_point(
        filled=True, size=110, fill=alt.ExprRef("background"), strokeWidth=2.2, opacity=1
    )
    words = base.mark_text(align="left", dx=10, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
    chart = alt.layer(
        zero.encode(x="zero:Q"),
        ticks,
        interval,
        solid.encode(x="mean:Q", color=colour, tooltip=tips),
        hollow.encode(x="mean:Q", stroke=colour.copy(), tooltip=tips),
        words.encode(x=alt.value(alt.expr("width")), text="verdict:N"),
    )
    panel: alt.LayerChart = theme.titled(chart, height=max(70, ROW_PX * len(arms)))
    return panel


def _verdict(row: Mapping[str, Any]) -> str:
    mean = float(row["mean"])
    if row["half_width"] is None:
        return f"{mean:+.3g}, one seed"
    text = f"{mean:+.3g} ± {float(row['half_width']):.2g}"
    return text if row["resolved"] else f"{text}, not resolved"
