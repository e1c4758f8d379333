"""Training and held-out loss, or perplexity."""

import math
from collections.abc import Mapping

import altair as alt
import polars as pl

from explorer.charts import event_marks, series, theme
from explorer.charts.playhead import playhead_layers
from explorer.errors import one_of

NOT_FINITE = "lm_loss_not_finite"
"""Column of `queries.loss_series`: recorded steps of a bin whose loss is NaN or infinite."""


def loss_curves(
    train: pl.DataFrame,
    evals: pl.DataFrame | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    families: Mapping[str, str] | None = None,
    scopes: Mapping[str, str] | None = None,
    metric: str = "perplexity",
    domain: str = "all",
    x_title: str = "step",
    playhead: float | theme.Follow | None = None,
    events: pl.DataFrame | None = None,
    log_y: bool = True,
    since: float | None = None,
    title: str = "",
    height: int = 320,
) -> theme.Figure:
    """Thin line and band for training, ringed points for held-out text.

    Language loss only, never a balancing loss. Where it is NaN or infinite the line breaks and the steps are
    shaded; the axis covers every recorded step. train: columns of `queries.loss_series`; evals: of
    `queries.eval_series`. `metric`: "perplexity" or "lm_loss". `events`: see `event_marks.event_layers`; they
    need an axis of steps. `since`: x from which on something is drawn, None for all. Near the end it is the
    held-out text that tells runs apart: its points are joined, and training lines are pale and without bands.
    """
    one_of("metric", metric, ("perplexity", "lm_loss"))
    held = None if evals is None else evals.filter(pl.col("domain") == domain)
    ids = [*train["run_id"].to_list(), *([] if held is None else held["run_id"].to_list())]
    if not ids:
        return theme.no_data("no losses recorded", title=title)
    styles = theme.run_styles(ids, labels, families, scopes)
    if since is not None:
        train = train.filter(pl.col("x") >= since)
        held = None if held is None else held.filter(pl.col("x") >= since)
    source = _as_perplexity(train) if metric == "perplexity" else train
    data = series.tidy(source, styles, value="lm_loss", low="lm_loss_min", high="lm_loss_max", odd=NOT_FINITE)
    points = _held_out(held, styles, metric)
    columns = ["run", "x", "value", "low", "high"]
    both = pl.concat([data.select(columns), points.select(columns)])
    if since is not None:
        both = both.with_columns(low="value", high="value")
    if both["value"].is_null().all():
        empty = "no losses recorded" if both.is_empty() else "no loss of these runs is finite"
        return theme.no_data(empty, title=title)
    y_title = theme.AXIS[metric]
    look = {"stroke_width": 1.3} if since is None else {"stroke_width": 1.0, "opacity": 0.35}
    lines = series.line_layers(
        data, styles, x_title=x_title, y_title=y_title, log_y=log_y, zero=False, **look
    )
    if since is not None:
        lines = [*lines[1:], _joined(points, styles)]
    rings = _rings(_never_empty(points, data), styles, y_title.split(" (")[0])
    ends = series.run_end_labels(both, styles)
    text = series.label_layer(ends, both, height=height, zero=False, log_y=log_y)
    marks = event_marks.event_layers(events, series.step_span(data), styles)
    head = playhead_layers(playhead, named=x_title == theme.AXIS["step"])
    odd = series.not_finite_layers(source, styles, odd=NOT_FINITE)
    chart = alt.layer(series.extent_layer(train), *lines, *odd, rings, *text, *marks, *head)
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _joined(points: pl.DataFrame, styles: list[theme.RunStyle]) -> alt.Chart:
    """The evaluations on held-out text as a line per run."""
    joined: alt.Chart = (
        alt.Chart(points)
        .mark_line(strokeWidth=2.2, clip=True)
        .encode(
            x=alt.X("x:Q"),
            y=alt.Y("value:Q"),
            color=alt.Color("run:N", scale=theme.colour_scale(styles), legend=series.run_legend(styles)),
            strokeDash=alt.StrokeDash("run:N", scale=theme.dash_scale(styles), legend=None),
        )
    )
    return joined


def _never_empty(points: pl.DataFrame, data: pl.DataFrame) -> pl.DataFrame:
    """The points, all `shown`; if there are none yet, the first point of the lines, hidden.

    The tick of a live run that brings the first evaluation is then a change of rows only, and every layer has
    an extent.
    """
    if points.is_empty():
        points = data.drop_nulls("value").head(1).select(points.columns)
        return points.with_columns(shown=pl.lit(False))
    return points.with_columns(shown=pl.lit(True))


def _rings(points: pl.DataFrame, styles: list[theme.RunStyle], name: str) -> alt.Chart:
    """The evaluations on held-out text. points: rows of `_never_empty`; name: of the metric."""
    rings: alt.Chart = (
        alt.Chart(points)
        # Not clipped, or a point at either end would be half a point; what is zoomed away is not shown.
        .mark_point(
            filled=True,
            size=alt.ExprRef("datum.shown ? 58 : 0"),
            stroke=alt.ExprRef("background"),
            strokeWidth=1.2,
            clip=False,
        )
        .encode(
            x=alt.X("x:Q"),
            y=alt.Y("value:Q"),
            opacity=alt.OpacityValue(
                alt.expr("datum.shown && inrange(scale('x', datum.x), [-1, width + 1]) ? 1 : 0")
            ),
            color=alt.Color("run:N", scale=theme.colour_scale(styles), legend=None),
            tooltip=[
                alt.Tooltip("run:N"),
                alt.Tooltip("x:Q", title="held-out text at", format="~f"),
                alt.Tooltip("value:Q", title=name, format=".4g"),
            ],
        )
    )
    return rings


def _as_perplexity(train: pl.DataFrame) -> pl.DataFrame:
    """exp of the losses; a bin whose loss is too large for that counts as not finite."""
    exp = [pl.col(c).cast(pl.Float64).exp().alias(c) for c in ("lm_loss", "lm_loss_min", "lm_loss_max")]
    if NOT_FINITE not in train.columns:
        return train.with_columns(exp)
    too_large = pl.col("lm_loss").is_infinite().fill_null(False)
    count = pl.when(too_large).then(pl.max_horizontal(NOT_FINITE, pl.lit(1))).otherwise(NOT_FINITE)
    return train.with_columns(exp).with_columns(count.alias(NOT_FINITE))


def _held_out(held: pl.DataFrame | None, styles: list[theme.RunStyle], metric: str) -> pl.DataFrame:
    schema = {"run": pl.String, "x": pl.Float64, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    if held is None or held.is_empty():
        return pl.DataFrame(schema=schema)
    names = {s.run_id: s.label for s in styles}
    column = pl.col("lm_loss").cast(pl.Float64)
    values = held.select("run_id", "x", value=column.exp() if metric == "perplexity" else column)
    rows = [
        (names[run_id], float(x), value, value, value)
        for run_id, x, value in values.rows()
        if value is not None and run_id in names and math.isfinite(value)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")
