"""How a rule acts: what pulls the routers and which way, how close the choices are, how often they change."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, series, theme
from explorer.charts.labels import EndLabel

LANGUAGE, AUXILIARY = "language loss", "auxiliary losses"
NORM_TITLE = "gradient norm at the router"
NOT_RECORDED = "no gradients at the routers were recorded"

Names = Mapping[str, str]


def gradient_norms(
    frame: pl.DataFrame,
    *,
    labels: Names | None = None,
    families: Names | None = None,
    scopes: Names | None = None,
    events: pl.DataFrame | None = None,
    title: str = "",
    height: int = 300,
) -> theme.Figure:
    """Both gradients on one logarithmic axis: language loss as whole lines, auxiliary losses dashed.

    frame: columns of `queries.router_gradients`. An arm without an auxiliary loss has no dashed line.
    `events`, here and below: see `event_marks.event_layers`.
    """
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    parts = [
        _tidy(frame, styles, name).with_columns(source=pl.lit(source))
        for name, source in (("lm", LANGUAGE), ("aux", AUXILIARY))
    ]
    # A gradient of zero has no place on a logarithmic axis.
    data = pl.concat(parts).filter((pl.col("low") > 0) | pl.col("value").is_null())
    if data["value"].is_null().all():
        return theme.no_data(NOT_RECORDED, title=title)
    ends = _norm_labels(data, styles)
    chart = alt.layer(
        *_norm_lines(data, styles),
        *series.label_layer(ends, data, height=height, zero=False, log_y=True),
        *event_marks.event_layers(events, series.step_span(data), styles),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _norm_lines(data: pl.DataFrame, styles: list[theme.RunStyle]) -> list[Any]:
    legend = series.run_legend(styles)
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=legend)
    dash = alt.StrokeDash(
        "source:N",
        scale=alt.Scale(domain=[LANGUAGE, AUXILIARY], range=[[1, 0], [5, 3]]),
        legend=alt.Legend(
            title=None,
            orient="bottom",
            direction="horizontal",
            symbolType="stroke",
            symbolSize=500,
            symbolStrokeWidth=2,
            symbolStrokeColor=theme.NEUTRAL_TEXT.expr,
        ),
    )
    x, y = series.x_axis(theme.AXIS["step"]), series.y_axis(NORM_TITLE, True, zero=False)
    base = alt.Chart(data).encode(x=x, y=y, color=colour)
    band = (
        alt.Chart(data)
        .mark_area(opacity=0.12, clip=True, line=False)
        .encode(
            x=x,
            y=series.y_axis(NORM_TITLE, True, zero=False, field="low"),
            y2=alt.Y2("high:Q"),
            color=colour,
            detail=alt.Detail("source:N"),
        )
    )
    line = base.mark_line(strokeWidth=2, clip=True).encode(strokeDash=dash).add_params(theme.zoom())
    points = base.mark_point(filled=True, size=26, opacity=1, clip=True).encode(
        tooltip=[
            alt.Tooltip("run:N", title="run"),
            alt.Tooltip("source:N", title="gradient of"),
            alt.Tooltip("last_step:Q", title="step", format="d"),
            alt.Tooltip("value:Q", title="norm", format=".3g"),
            alt.Tooltip("low:Q", title="lowest", format=".3g"),
            alt.Tooltip("high:Q", title="highest", format=".3g"),
        ]
    )
    return [band, line, points]


def _norm_labels(data: pl.DataFrame, styles: list[theme.RunStyle]) -> list[EndLabel]:
    """At the dashed line of an arm that has one, else at its whole line."""
    first = data.sort("source").unique(["run", "x"], keep="first", maintain_order=True)
    with_aux = first.filter(pl.col("source") == AUXILIARY)["run"].unique().implode()
    lines = first.filter((pl.col("source") == AUXILIARY) | ~pl.col("run").is_in(with_aux))
    return series.run_end_labels(lines, styles)


def gradient_cosines(frame: pl.DataFrame, **settings: Any) -> theme.Figure:
    """Cosine between both gradients with a line at zero: below it they pull in opposite directions."""
    return _lines(
        frame,
        "cosine",
        y_title="cosine (−1 opposed, +1 aligned)",
        empty="no run here has an auxiliary loss and recorded gradients",
        reference=0.0,
        **settings,
    )


def score_margins(frame: pl.DataFrame, **settings: Any) -> theme.Figure:
    """Mean gap between the K-th and the (K+1)-th compared score. frame: of `queries.choices`."""
    return _lines(
        frame, "margin", y_title="score margin (score units)", empty="no score margins recorded", **settings
    )


def switched_share(frame: pl.DataFrame, **settings: Any) -> theme.Figure:
    """Share of the assignments that the bias changed. frame: of `queries.choices`."""
    return _lines(
        frame,
        "switched",
        y_title="assignments changed by the bias",
        empty="no run here has a bias",
        number_format="~%",
        **settings,
    )


def churn(frame: pl.DataFrame, **settings: Any) -> theme.Figure:
    """Share of the probe's choices that changed since the probe before. frame: of `queries.choice_churn`."""
    chance = frame["chance"].drop_nulls().unique().to_list()
    return _lines(
        frame,
        "churn",
        y_title="choices changed since the last probe",
        empty="no run here has a probe batch",
        number_format="~%",
        reference=float(chance[0]) if len(chance) == 1 else None,
        with_points=True,
        **settings,
    )


def _lines(
    frame: pl.DataFrame,
    column: str,
    *,
    y_title: str,
    empty: str,
    number_format: str = ".2~g",
    reference: float | None = None,
    with_points: bool = False,
    labels: Names | None = None,
    families: Names | None = None,
    scopes: Names | None = None,
    events: pl.DataFrame | None = None,
    title: str = "",
    height: int = 260,
) -> theme.Figure:
    """A line and a band a run, and a rule across at `reference`."""
    rows = frame.filter(pl.col(column).is_not_null())
    if rows.is_empty():
        return theme.no_data(empty, title=title)
    present = set(rows["run_id"])
    # Styles of all runs, so that an arm looks the same beside those that lack the figure.
    every = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    styles = [style for style in every if style.run_id in present]
    data = _tidy(frame, styles, column)
    lines = series.line_layers(data, styles, x_title=theme.AXIS["step"], y_title=y_title)
    for layer in lines:
        if isinstance(layer.encoding.y, alt.Y):
            # Left to itself the axis rounds 0.12 to 0.1.
            layer.encoding.y["axis"] = alt.Axis(tickCount=5, format=number_format)
    if with_points:
        dots = alt.Chart(data).mark_point(filled=True, size=34, opacity=1, clip=True)
        lines.append(
            dots.encode(
                x=alt.X("x:Q"),
                y=alt.Y("value:Q"),
                color=alt.Color("run:N", scale=theme.colour_scale(styles), legend=series.run_legend(styles)),
            )
        )
    ends = series.run_end_labels(data, styles)
    text = series.label_layer(ends, data, height=height, zero=True, log_y=False)
    marks = event_marks.event_layers(events, series.step_span(data), styles)
    chart = alt.layer(*_rule(reference), *lines, *text, *marks)
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _tidy(frame: pl.DataFrame, styles: Sequence[theme.RunStyle], name: str) -> pl.DataFrame:
    """The rows of one figure; a line breaks where nothing finite is left of it."""
    ends = {"value": name, "low": f"{name}_min", "high": f"{name}_max"}
    return series.tidy(frame, styles, odd=f"{name}_not_finite", **ends)


def _rule(value: float | None) -> list[Any]:
    if value is None:
        return []
    data = pl.DataFrame({"rule": [value]})
    rule = alt.Chart(data).mark_rule(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=[6, 3])
    return [rule.encode(y=alt.Y("rule:Q"))]
