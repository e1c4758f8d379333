"""Charts of a counterfactual replay: biases and imbalance over the updates of another rule."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import series, theme
from explorer.charts.agreement import FIRST, SECOND

REPLAYED, RECORDED = "replayed", "recorded"


def bias_paths(frame: pl.DataFrame, *, named: list[int], height: int = 260) -> theme.Figure:
    """Biases over the updates: replayed of all experts, and recorded (dashed) of those in `named`.

    frame: update, expert, bias, path (REPLAYED or RECORDED). named: experts in bold.
    """
    x = alt.X(
        "update:Q", title="updates since the probe", axis=theme.step_axis(), scale=alt.Scale(nice=False)
    )
    y = alt.Y(
        "bias:Q", title=theme.AXIS["expert_bias"], axis=alt.Axis(tickCount=5), scale=series.free_scale()
    )
    base = alt.Chart(frame).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("update:Q", format="d"),
            alt.Tooltip("expert:O"),
            alt.Tooltip("path:N", title="bias"),
            alt.Tooltip("bias:Q", format="+.4f"),
        ],
    )
    is_named = f"indexof({named}, datum.expert) >= 0"
    replayed = base.transform_filter(f"datum.path == '{REPLAYED}'")
    faint = replayed.mark_line(color=theme.FAINT_LINE.expr, strokeWidth=0.9, opacity=0.55)
    layers: list[Any] = [faint.encode(detail=alt.Detail("expert:N"))]
    names = pl.DataFrame({"expert": named, "ink": list(range(len(named)))})
    # A path without rows has no layer: an empty one would leave its axes without an extent.
    present = set(frame.filter(pl.col("expert").is_in(named))["path"])
    for path, dash, width in ((RECORDED, [4, 3], 1.6), (REPLAYED, [1, 0], 2.4)):
        if path not in present:
            continue
        lines = base.transform_filter(f"datum.path == '{path}' && {is_named}")
        lines = lines.mark_line(strokeWidth=width, strokeDash=dash, clip=True)
        layers.append(lines.encode(color=_expert_colour(names), detail=alt.Detail("expert:N")))
    figure: alt.LayerChart = theme.titled(alt.layer(*layers), height=height)
    return figure


def _expert_colour(names: pl.DataFrame) -> alt.Color:
    """The named experts in the inks of single experts."""
    experts = names["expert"].to_list()
    return alt.Color(
        "expert:N",
        scale=alt.Scale(domain=experts, range=[ink.expr for ink in theme.EXPERT_INKS[: len(experts)]]),
        legend=alt.Legend(title="expert", orient="top"),
    )


def imbalance(frame: pl.DataFrame, *, recorded: float, height: int = 260) -> theme.Figure:
    """MaxVio of the probe tokens over the updates; dashed: that of the recorded choice.

    frame: update, max_vio.
    """
    x = alt.X(
        "update:Q", title="updates since the probe", axis=theme.step_axis(), scale=alt.Scale(nice=False)
    )
    y = alt.Y(
        "max_vio:Q", title=theme.AXIS["max_vio"], axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=True)
    )
    line = (
        alt.Chart(frame)
        .mark_line(color=SECOND.expr, strokeWidth=2.4, point=frame.height == 1)
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("update:Q", format="d"),
                alt.Tooltip("max_vio:Q", title="MaxVio", format=".3f"),
            ],
        )
    )
    at = alt.Chart(pl.DataFrame({"max_vio": [recorded], "name": [RECORDED]})).encode(y=alt.Y("max_vio:Q"))
    rule = at.mark_rule(color=FIRST.expr, strokeDash=[5, 3], strokeWidth=1.6)
    text = at.mark_text(
        align="right", baseline="bottom", dy=-3, fontSize=11, fontWeight=600, color=theme.STRONG_TEXT.expr
    )
    chart = alt.layer(line, rule, text.encode(x=alt.XValue(alt.expr("width")), text=alt.Text("name:N")))
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def imbalances(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str],
    families: Mapping[str, str],
    scopes: Mapping[str, str],
    height: int = 300,
) -> theme.Figure:
    """MaxVio over the updates, a line per run; circles at the left: that of the recorded choice.

    frame: run_id, update, max_vio, recorded. labels, families, scopes: by run_id.
    """
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    names = {style.run_id: style.label for style in styles}
    data = frame.with_columns(
        run=pl.col("run_id").replace_strict(names),
        x=pl.col("update").cast(pl.Float64),
        value=pl.col("max_vio"),
        low=pl.min_horizontal("max_vio", "recorded"),
        high=pl.max_horizontal("max_vio", "recorded"),
    )
    legend = series.run_legend(styles)
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=legend)
    x = alt.X("x:Q", title="updates since the probe", axis=theme.step_axis(), scale=alt.Scale(nice=False))
    y = series.y_axis(theme.AXIS["max_vio"], False, zero=True)
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("update:Q", format="d"),
        alt.Tooltip("max_vio:Q", title="MaxVio", format=".3f"),
        alt.Tooltip("recorded:Q", title="of the recorded choice", format=".3f"),
    ]
    base = alt.Chart(data).encode(x=x, y=y, color=colour, tooltip=tooltip)
    dash = alt.StrokeDash("run:N", scale=theme.dash_scale(styles), legend=legend)
    line = base.mark_line(strokeWidth=2.2, point=data["update"].max() == 0).encode(strokeDash=dash)
    first = base.transform_filter("datum.update == 0").mark_point(
        filled=False, size=80, strokeWidth=2, clip=False
    )
    chart = alt.layer(
        line,
        first.encode(y=alt.Y("recorded:Q")),
        *series.label_layer(series.run_end_labels(data, styles), data, height=height, zero=True, log_y=False),
    )
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure
