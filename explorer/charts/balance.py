"""MaxVio over training, with the random-routing baselines."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, series, theme
from explorer.charts.labels import EndLabel, break_label
from explorer.charts.playhead import playhead_layers

REFERENCE_LABELS = {"uniform": "random routing", "resampled": "random routing (whole sequences)"}


def max_vio_curves(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    families: Mapping[str, str] | None = None,
    scopes: Mapping[str, str] | None = None,
    references: Mapping[str, Any] | None = None,
    curve: pl.DataFrame | None = None,
    x_title: str = "step",
    playhead: float | None = None,
    events: pl.DataFrame | None = None,
    log_y: bool = False,
    mean100: bool = False,
    title: str = "",
    height: int = 320,
) -> theme.Figure:
    """Raw line and min-max band per run, with two reference lines.

    frame: columns of `queries.max_vio_series`. `labels`, `families`, `scopes`: run_id -> label, balancer
    family and count scope. `references`: what `queries.references` returns, or "uniform" and
    "resampled" -> (mean, 95th percentile); the strip reaches from the mean to the percentile. `curve`:
    columns x, uniform_mean and uniform_p95 where the first line is not level (a batch that grows). `mean100`
    adds the mean over the last 100 steps, as the paper draws it, over the raw line. `events`: see
    `event_marks.event_layers`; they need an axis of steps.
    """
    if frame.is_empty():
        return theme.no_data("no loads recorded, so no MaxVio", title=title)
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    data = series.tidy(frame, styles, value="max_vio", low="max_vio_min", high="max_vio_max")
    if log_y:
        data = data.filter(pl.col("value") > 0).with_columns(
            low=pl.max_horizontal("low", pl.col("value") / 100)
        )
    if data.is_empty():
        return theme.no_data("no loads recorded, so no MaxVio", title=title)
    smooth = series.mean_layers(frame, styles) if mean100 and "max_vio_mean100" in frame.columns else []
    faint: dict[str, Any] = {"stroke_width": 1.0, "opacity": 0.5} if smooth else {}
    lines = series.line_layers(
        data, styles, x_title=x_title, y_title=theme.AXIS["max_vio"], log_y=log_y, **faint
    )
    pairs = reference_pairs(references)
    ends = series.run_end_labels(data, styles)
    ends += [
        EndLabel(break_label(REFERENCE_LABELS[k]), v[0], theme.NEUTRAL_TEXT, strong=False)
        for k, v in pairs.items()
    ]
    text = series.label_layer(ends, data, height=height, zero=True, log_y=log_y)
    chart = alt.layer(
        *_reference_layers({k: v for k, v in pairs.items() if curve is None or k != "uniform"}),
        *curve_layers(curve),
        *lines,
        *smooth,
        *text,
        *event_marks.event_layers(events, series.step_span(data), styles),
        *playhead_layers(playhead, named=x_title == theme.AXIS["step"]),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def curve_layers(curve: pl.DataFrame | None) -> list[Any]:
    """The baseline of independent tokens along a batch that changes: a dashed line with its strip."""
    if curve is None or curve.is_empty():
        return []
    base = alt.Chart(curve.select("x", value="uniform_mean", p95="uniform_p95", tokens="tokens")).encode(
        x=alt.X("x:Q"),
        y=alt.Y("value:Q"),
        tooltip=[
            alt.Tooltip("tokens:Q", title="tokens per step", format=",.0f"),
            alt.Tooltip("value:Q", title="random routing, mean", format=".3f"),
            alt.Tooltip("p95:Q", title="95th percentile", format=".3f"),
        ],
    )
    strip = base.mark_area(color=theme.REFERENCE_BAND.expr, opacity=0.45).encode(y2=alt.Y2("p95:Q"))
    line = base.mark_line(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=[2, 2])
    return [strip, line]


def reference_pairs(references: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """ "uniform" and "resampled" -> (mean, 95th percentile); what is unknown or zero is left out."""
    levels = dict(references or {})
    for key in REFERENCE_LABELS:
        if f"{key}_mean" in levels:
            levels[key] = (levels[f"{key}_mean"], levels.get(f"{key}_p95"))
    pairs = {}
    for key in REFERENCE_LABELS:
        mean, p95 = levels.get(key) or (None, None)
        if mean is not None and mean > 0:
            pairs[key] = (float(mean), float(mean if p95 is None else p95))
    return pairs


def _reference_layers(references: Mapping[str, tuple[float, float]]) -> list[Any]:
    """A dashed line at the mean and a pale strip up to the 95th percentile, one pair per baseline."""
    if not references:
        return []
    data = pl.DataFrame(
        {
            "name": [REFERENCE_LABELS[k] for k in references],
            "value": [v[0] for v in references.values()],
            "p95": [v[1] for v in references.values()],
        },
        schema={"name": pl.String, "value": pl.Float64, "p95": pl.Float64},
    )
    base = alt.Chart(data).encode(
        y=alt.Y("value:Q"),
        tooltip=[
            alt.Tooltip("name:N", title="reference"),
            alt.Tooltip("value:Q", title="mean", format=".3f"),
            alt.Tooltip("p95:Q", title="95th percentile", format=".3f"),
        ],
    )
    strip = base.mark_rect(color=theme.REFERENCE_BAND.expr, opacity=0.45).encode(y2=alt.Y2("p95:Q"))
    # Not by a scale, which would be shared with the runs' own dashes, and not in a layer per baseline, since
    # one of them would often be empty.
    dash = alt.ExprRef(f"datum.name === '{REFERENCE_LABELS['resampled']}' ? [6, 3] : [2, 2]")
    rule = base.mark_rule(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=dash)
    return [strip, rule]
