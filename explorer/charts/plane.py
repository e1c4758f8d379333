"""The dilemma plane: held-out perplexity against imbalance, one point per run.

The same picture as Figure 2 of Loss-Free Balancing (arXiv 2408.15664): lower left is better in both.
"""

from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.plane_rows import SCOPE_SHAPES, groups_of, in_sweep, runs_of
from explorer.charts.plane_words import PADDING_PX, coefficients, zeros
from explorer.charts.scales import log_ticks

_LEGEND_COLUMNS = alt.ExprRef("width < 400 ? 2 : width < 700 ? 3 : width < 850 ? 5 : 7")
SCOPE_LABELS = {
    "sequence": "sequence",
    "micro_batch": "micro-batch",
    "global_batch": "global batch",
    "global_buffered": "global batch so far",
    "none": "nothing",
    "unknown": "not stated",
    "other": "several",
}


def dilemma_plane(
    summary: pl.DataFrame,
    *,
    log_x: bool = True,
    reference: float | None = None,
    title: str = "",
    height: int = 480,
) -> theme.Figure:
    """Perplexity (y) against MaxVio_global (x); colour is the method, shape the count scope.

    summary: columns of `queries.summary`. Runs that differ only in seed share a large mark at their
    mean with 95 % t intervals; the seeds stay visible as small marks. A sweep of one coefficient is
    joined in order by a thin line. `reference`: MaxVio of random routing, drawn as a vertical line.
    """
    runs = runs_of(summary, log_x)
    if runs.is_empty():
        return theme.no_data("no finished runs with a held-out evaluation", title=title)
    groups = groups_of(runs)
    colour, shape = _colour(runs), _shape(runs)
    x, y = _axes(runs, log_x)
    place: dict[str, Any] = {"x": x, "y": y, "color": colour, "shape": shape}
    cross = alt.Chart(groups.filter(pl.col("seeds") > 1)).encode(color=colour)
    across = cross.mark_rule(strokeWidth=1.6).encode(x=alt.X("x_low:Q"), x2=alt.X2("x_high:Q"), y=y)
    along = cross.mark_rule(strokeWidth=1.6).encode(x=x, y=alt.Y("y_low:Q"), y2=alt.Y2("y_high:Q"))
    chart = alt.layer(
        *_reference(reference),
        *_sweeps(groups, x, y, colour),
        across,
        along,
        *_points(runs, place),
        _means(groups, place),
        *coefficients(groups, runs, x, y, colour, log_x=log_x, height=height),
        *zeros(groups, x, y, colour),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _colour(runs: pl.DataFrame) -> alt.Color:
    """One hue per family of rules, in the shade of the count scope; the legend names the hues."""
    families = [f for f in theme.FAMILIES if f in set(runs["family"])]
    return alt.Color(
        "rule:N",
        title="method",
        scale=theme.rule_scale([*families, *runs["rule"]]),
        legend=alt.Legend(
            values=families,
            orient="bottom",
            symbolType="circle",
            symbolStrokeWidth=0,
            direction="horizontal",
            columns=_LEGEND_COLUMNS,
            symbolOpacity=1,
            labelExpr=_relabel(theme.FAMILY_LABELS),
            symbolSize=110,
        ),
    )


def _shape(runs: pl.DataFrame) -> alt.Shape:
    """One mark per count scope, those of these runs in the legend."""
    scopes = [s for s in SCOPE_SHAPES if s in set(runs["scope_key"])]
    return alt.Shape(
        "scope_key:N",
        title="loads counted over",
        scale=alt.Scale(domain=scopes, range=[SCOPE_SHAPES[s] for s in scopes]),
        # Above: beside the legend of the methods it would be cut at the right edge.
        legend=alt.Legend(
            orient="top",
            direction="horizontal",
            columns=_LEGEND_COLUMNS,
            labelExpr=_relabel(SCOPE_LABELS),
            symbolFillColor=theme.FAINT_LINE.expr,
            symbolOpacity=1,
            symbolStrokeWidth=0,
            symbolSize=110,
        ),
    )


def _axes(runs: pl.DataFrame, log_x: bool) -> tuple[alt.X, alt.Y]:
    """MaxVio and perplexity."""
    x = alt.X(
        "x:Q",
        title=theme.AXIS["max_vio_global"],
        scale=(
            alt.Scale(type="log", nice=False, padding=PADDING_PX)
            if log_x
            else alt.Scale(zero=False, nice=False, padding=PADDING_PX)
        ),
        axis=_log_axis(runs["x"]) if log_x else alt.Axis(tickCount=6, format="~g"),
    )
    y = alt.Y(
        "y:Q",
        title="held-out perplexity",
        scale=alt.Scale(type="log", nice=False, padding=PADDING_PX),
        axis=_log_axis(runs["y"]),
    )
    return x, y


def _points(runs: pl.DataFrame, place: dict[str, Any]) -> list[alt.Chart]:
    """The runs: small marks for seeds of a mean, large ones for single runs."""
    tooltip = [
        alt.Tooltip("label:N", title="balancer"),
        alt.Tooltip("run_id:N", title="run"),
        alt.Tooltip("seed:Q", title="seed"),
        alt.Tooltip("y:Q", title="perplexity", format=".3f"),
        alt.Tooltip("max_vio:Q", title="MaxVio, held-out set", format=".3f"),
    ]
    ring = alt.ExprRef("background")
    seeds = alt.Chart(runs.filter(pl.col("seeds") > 1)).mark_point(filled=True, size=34, opacity=0.6)
    single = alt.Chart(runs.filter(pl.col("seeds") == 1)).mark_point(
        filled=True, size=150, opacity=1, stroke=ring, strokeWidth=1
    )
    return [points.encode(**place, tooltip=tooltip) for points in (seeds, single)]


def _means(groups: pl.DataFrame, place: dict[str, Any]) -> alt.Chart:
    """The means over seeds."""
    tooltip = [
        alt.Tooltip("label:N", title="balancer"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("y:Q", title="mean perplexity", format=".3f"),
        alt.Tooltip("y_half:Q", title="± (95 %)", format=".3f"),
        alt.Tooltip("max_vio:Q", title="mean MaxVio", format=".3f"),
        alt.Tooltip("x_half:Q", title="± (95 %)", format=".3f"),
    ]
    ring = alt.ExprRef("background")
    means: alt.Chart = (
        alt.Chart(groups.filter(pl.col("seeds") > 1))
        .mark_point(filled=True, size=230, opacity=1, stroke=ring, strokeWidth=1.2)
        .encode(**place, tooltip=tooltip)
    )
    return means


def _log_axis(values: pl.Series) -> alt.Axis:
    """1-2-5 on a wide range; a narrow one, which those ticks would miss, gets even ones."""
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    return (
        alt.Axis(values=log_ticks(), format=",~r") if high > 4 * low else alt.Axis(tickCount=6, format=".4~g")
    )


def _relabel(names: dict[str, str]) -> str:
    return "".join(f"datum.label == '{key}' ? '{text}' : " for key, text in names.items()) + "datum.label"


def _sweeps(groups: pl.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    line = alt.Chart(in_sweep(groups).sort("coefficient")).mark_line(strokeWidth=1.4, opacity=0.6)
    return [
        line.encode(
            x=x,
            y=y,
            color=colour,
            order=alt.Order("coefficient:Q"),
            detail=[alt.Detail("sweep:N"), alt.Detail("pair_key:N")],
        )
    ]


def _reference(value: float | None) -> list[alt.Chart]:
    if value is None or value <= 0:
        return []
    data = pl.DataFrame({"x": [value], "name": ["random routing"]})
    base = alt.Chart(data).encode(x=alt.X("x:Q"))
    rule = base.mark_rule(color=theme.REFERENCE.expr, strokeDash=[5, 4])
    text = base.mark_text(
        align="left", baseline="top", dx=5, dy=4, fontSize=11, color=theme.NEUTRAL_TEXT.expr
    )
    return [rule, text.encode(y=alt.YValue(0), text=alt.Text("name:N"))]
