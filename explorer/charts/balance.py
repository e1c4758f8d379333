"""MaxVio over training, against what random routing would show."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import series, theme
from explorer.charts.labels import EndLabel

REFERENCE_LABELS = {"uniform": "random tokens", "resampled": "random sequences"}


def max_vio_curves(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    families: Mapping[str, str] | None = None,
    references: Mapping[str, tuple[float, float]] | None = None,
    x_title: str = "step",
    playhead: float | None = None,
    log_y: bool = False,
    title: str = "",
    height: int = 320,
) -> theme.Figure:
    """Raw line and min-max band a run, with two reference lines.

    frame: columns of `queries.max_vio_series`. `labels` and `families`: run_id -> label (count scope
    included) and balancer family. `references`: "uniform" and "resampled" -> (mean, 95th percentile),
    from `metrics.uniform_reference` and `metrics.resampled_reference`; the strip reaches from the mean
    to the percentile.
    """
    if frame.is_empty():
        return theme.no_data("no loads recorded, so no MaxVio", title=title)
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families)
    data = series.tidy(frame, styles, value="max_vio", low="max_vio_min", high="max_vio_max")
    if log_y:
        data = data.filter(pl.col("value") > 0).with_columns(
            low=pl.max_horizontal("low", pl.col("value") / 100)
        )
    if data.is_empty():
        return theme.no_data("no loads recorded, so no MaxVio", title=title)
    lines = series.line_layers(data, styles, x_title=x_title, y_title=theme.AXIS["max_vio"], log_y=log_y)
    known = {
        k: v for k, v in (references or {}).items() if k in REFERENCE_LABELS and v is not None and v[0] > 0
    }
    ends = series.run_end_labels(data, styles)
    ends += [EndLabel(REFERENCE_LABELS[k], v[0], theme.NEUTRAL_TEXT, strong=False) for k, v in known.items()]
    text = series.label_layer(ends, data, height=height, zero=True, log_y=log_y)
    chart = alt.layer(*_reference_layers(known), *lines, *text, *theme.playhead_layers(playhead))
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _reference_layers(references: Mapping[str, tuple[float, float]]) -> list[Any]:
    """A dashed line at the mean and a pale strip up to the 95th percentile, one pair a reference."""
    data = pl.DataFrame(
        {
            "name": [REFERENCE_LABELS[k] for k in references],
            "value": [v[0] for v in references.values()],
            "p95": [v[1] for v in references.values()],
        },
        schema={"name": pl.String, "value": pl.Float64, "p95": pl.Float64},
    )
    base = alt.Chart(data).encode(
        y="value:Q",
        tooltip=[
            alt.Tooltip("name:N", title="reference"),
            alt.Tooltip("value:Q", title="mean", format=".3f"),
            alt.Tooltip("p95:Q", title="95th percentile", format=".3f"),
        ],
    )
    strip = base.mark_rect(color=theme.REFERENCE_BAND.expr, opacity=0.45).encode(y2="p95:Q")
    rules = []
    # A layer each instead of a dash scale: a scale would be shared with the runs' own dashes.
    for name, dash in zip(REFERENCE_LABELS.values(), ([2, 2], [6, 3]), strict=True):
        one = base.transform_filter(f"datum.name == '{name}'")
        rules.append(one.mark_rule(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=dash))
    return [strip, *rules]
