"""Bias trajectories of all experts of a layer, a few of them singled out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import bias_band, event_marks, linking, series, theme
from explorer.charts.anchored import anchored
from explorer.charts.labels import EndLabel, end_labels
from explorer.charts.playhead import playhead_layers


@dataclass(frozen=True, kw_only=True)
class Widest:
    """The step of a layer whose biases differ most, with its lowest and its highest."""

    step: int
    low: float
    high: float


def bias_trajectories(
    frame: pl.DataFrame,
    *,
    playhead: float | theme.Follow | None = None,
    events: pl.DataFrame | None = None,
    highlight: Sequence[int] = (),
    gap: float | None = None,
    title: str = "",
    height: int = 300,
    scope: str | None = None,
    pick: bool = False,
    is_rule_known: bool = True,
    band: pl.DataFrame | None = None,
    widest: Widest | None = None,
) -> theme.Figure:
    """Thin lines for every expert, coloured and named ones for `highlight` (at most six).

    frame: columns of `queries.bias_trajectories`. A line breaks, with a cross, where its bias is NaN or
    infinite. The line nearest to the pointer becomes bold and the others
    pale, with `scope` in all figures of the same (`charts.linking`); a click picks its nearest point, and
    `pick` says that the player of the page hears of it. `gap`: difference of two biases beyond which scores
    have no say (`routing.outranking`), None where there is none; a dashed line lies that far below the
    highest bias wherever an expert has fallen under it. `events`: of this layer, see
    `event_marks.event_layers`. `band`: the spread behind the lines (`bias_band.band_layers`), where
    `frame` holds only some of very many experts. `widest`: a step to mark, with the distance between
    its lowest and highest bias.
    """
    if frame.is_empty() or frame["bias_mean"].null_count() == frame.height:
        is_odd = NOT_FINITE in frame.columns and bool((frame[NOT_FINITE] > 0).any())
        absent = "no expert biases: this run has no bias rule" if is_rule_known else "no biases are recorded"
        none = "no bias is finite" if is_odd else absent
        return theme.no_data(none, title=title)
    data = _rows(frame)
    bold = {
        int(expert): ink for expert, ink in zip(dict.fromkeys(highlight), theme.EXPERT_INKS, strict=False)
    }
    encoded = _encoded()
    lines = _thin(data, encoded)
    highlighted = _bold(data, encoded, bold)
    names = _names(data, bold, height)
    points = _points(data.drop_nulls("expert_bias"), encoded).add_params(
        linking.hover(scope, nearest=True), linking.pick_point(linked=pick)
    )
    span = (float(data["x"].min()), float(frame["last_step"].max()))  # type: ignore[arg-type]
    marks = event_marks.event_layers(events, span)
    chart = alt.layer(
        *bias_band.band_layers(band),
        lines,
        *_outranked(data, gap),
        highlighted,
        _breaks(data),
        points,
        *_widest_layers(widest),
        *names,
        *marks,
        *playhead_layers(playhead),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns x, expert, expert_bias (NULL where it is NaN or infinite) and name, without unbiased steps."""
    broken = pl.col(NOT_FINITE) > 0 if NOT_FINITE in frame.columns else pl.lit(False)
    return frame.filter(pl.col("bias_mean").is_not_null() | broken).select(
        pl.col("first_step").cast(pl.Float64).alias("x"),
        pl.col("expert").cast(pl.Int32),
        expert_bias=pl.col("bias_mean").cast(pl.Float64).round(6),
        name=pl.lit("expert ") + pl.col("expert").cast(pl.String),
    )


def _encoded() -> dict[str, Any]:
    """Both axes, and the expert that a line belongs to."""
    return {
        "x": alt.X(
            "x:Q",
            title=theme.AXIS["step"],
            scale=alt.Scale(zero=False, nice=False),
            axis=theme.step_axis(),
        ),
        # The level of the biases says nothing, only their distances do: no zero line.
        "y": alt.Y(
            "expert_bias:Q",
            title=theme.AXIS["expert_bias"],
            scale=series.free_scale(),
            axis=alt.Axis(tickCount=5),
        ),
        "detail": "expert:N",
    }


def _thin(data: pl.DataFrame, encoded: dict[str, Any]) -> alt.Chart:
    """One line per expert; the one nearest to the pointer becomes bold."""
    thin: alt.Chart = (
        alt.Chart(data)
        .mark_line(clip=True)
        .encode(
            **encoded,
            color=linking.by_highlight(theme.STRONG_TEXT.expr, theme.FAINT_LINE.expr, theme.FAINT_LINE.expr),
            opacity=linking.by_highlight(1, 0.3, 0.55),
            strokeWidth=linking.by_highlight(2.8, 0.9, 0.9),
        )
        .properties(name="thin")
        .add_params(theme.zoom())
    )
    return thin


def _bold(data: pl.DataFrame, encoded: dict[str, Any], inks: Mapping[int, theme.Ink]) -> alt.Chart:
    """The lines of the highlighted experts."""
    # By their place and not by their number: another layer is then a change of rows, not of the chart.
    places = {expert: place for place, expert in enumerate(inks)}
    scale = alt.Scale(
        domain=list(places.values()) or [-1],
        range=[ink.expr for ink in inks.values()] or [theme.REFERENCE.expr],
    )
    rows = data.filter(pl.col("expert").is_in(list(inks)))
    bold: alt.Chart = (
        alt.Chart(rows.with_columns(place=pl.col("expert").replace_strict(places, return_dtype=pl.Int32)))
        .mark_line(clip=True)
        .encode(
            **encoded,
            color=alt.Color("place:N", scale=scale, legend=None),
            opacity=linking.by_highlight(1, 0.4, 1),
            strokeWidth=linking.by_highlight(4, 2.4, 2.4),
        )
    )
    return bold


def _names(data: pl.DataFrame, inks: Mapping[int, theme.Ink], height: int) -> list[alt.Chart]:
    """The highlighted experts by name, at the ends of their lines."""
    low, high = float(data["expert_bias"].min()), float(data["expert_bias"].max())  # type: ignore[arg-type]
    last = data.drop_nulls("expert_bias").sort("x").group_by("expert", maintain_order=True).last()
    ends = [
        EndLabel(f"expert {e}", v, inks[e])
        for e, v in last.select("expert", "expert_bias").rows()
        if e in inks
    ]
    return end_labels(ends, field="expert_bias", low=low, high=high, height=height)


NOT_FINITE = "bias_not_finite"
"""Column of `queries.bias_trajectories`: samples of a bin whose bias is NaN or infinite."""
MOST_POINTS = 2000
"""Points that can be met by the pointer; each costs the browser a cell."""


def _points(data: pl.DataFrame, encoded: dict[str, Any]) -> alt.Chart:
    """Invisible points on the lines that catch the pointer; the nearest one counts."""
    base = alt.Chart(data)
    if data.height > MOST_POINTS:
        # The same data with a filter, so that they do not travel twice.
        at = data["x"].unique().sort().gather_every(-(-data.height // MOST_POINTS)).to_list()
        base = base.transform_filter(f"indexof({at}, datum.x) >= 0")
    points: alt.Chart = (
        base.transform_calculate(at="datum.expert + '@' + datum.x")
        .mark_point(clip=True, opacity=0.001, size=20)
        .encode(
            **{name: value for name, value in encoded.items() if name != "detail"},
            tooltip=[
                alt.Tooltip("name:N", title="bias of"),
                alt.Tooltip("x:Q", title="step", format="d"),
                alt.Tooltip("expert_bias:Q", title="bias", format="+.4f"),
            ],
        )
        .properties(name="points")
    )
    return anchored(points)


def _breaks(data: pl.DataFrame) -> alt.Chart:
    """A cross at the last finite value of every expert whose bias is NaN or infinite after it."""
    after = pl.col("expert_bias").shift(-1).over("expert", order_by="x").is_null()
    is_last = pl.col("x") == pl.col("x").max().over("expert")
    at = data.filter(pl.col("expert_bias").is_not_null() & after & ~is_last)
    cross: alt.Chart = (
        alt.Chart(at)
        .mark_point(shape="M-1,-1L1,1M-1,1L1,-1", size=60, strokeWidth=2, color=theme.BROKEN.expr, clip=False)
        .encode(
            x=alt.X("x:Q"),
            y=alt.Y("expert_bias:Q"),
            tooltip=[
                alt.Tooltip("name:N", title="not finite after this: bias of"),
                alt.Tooltip("x:Q", title="step", format="d"),
            ],
        )
    )
    return anchored(cross)


def _widest_layers(widest: Widest | None) -> list[alt.Chart]:
    """A bracket from the lowest to the highest bias of a step, with their difference."""
    if widest is None:
        return []
    words = f"{widest.high - widest.low:.2f} apart at step {widest.step}"
    middle = (widest.low + widest.high) / 2
    span = pl.DataFrame({"x": [widest.step], "low": [widest.low], "high": [widest.high]})
    rule = alt.Chart(span).mark_rule(strokeWidth=1.6, color=theme.STRONG_TEXT.expr)
    ends = alt.Chart(pl.DataFrame({"x": [widest.step] * 2, "end": [widest.low, widest.high]}))
    caps = ends.mark_tick(orient="horizontal", size=12, thickness=1.6, color=theme.STRONG_TEXT.expr)
    name = alt.Chart(pl.DataFrame({"x": [widest.step], "middle": [middle], "words": [words]})).encode(
        x=alt.X("x:Q"), y=alt.Y("middle:Q"), text=alt.Text("words:N")
    )
    look: dict[str, Any] = {"align": "left", "dx": 8, "fontSize": 12, "fontWeight": 600}
    # An outline in the page's colour keeps the letters readable over the lines.
    halo = name.mark_text(stroke=alt.ExprRef("background"), strokeWidth=4, strokeJoin="round", **look)
    layers = [
        rule.encode(x=alt.X("x:Q"), y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        caps.encode(x=alt.X("x:Q"), y=alt.Y("end:Q")),
        halo,
        name.mark_text(color=theme.STRONG_TEXT.expr, **look),
    ]
    return [anchored(layer) for layer in layers]


def _outranked(data: pl.DataFrame, gap: float | None) -> list[alt.Chart]:
    """A line `gap` below the highest bias, only where some bias lies under it."""
    if gap is None:
        return []
    limits = (
        data.group_by("x", maintain_order=True)
        .agg(lowest=pl.col("expert_bias").min(), limit=pl.col("expert_bias").max() - gap)
        .sort("x")
        .with_columns(expert_bias=pl.when(pl.col("lowest") < pl.col("limit")).then(pl.col("limit")))
        .select("x", "expert_bias")
    )
    if limits["expert_bias"].is_null().all():
        return []
    line = (
        alt.Chart(limits)
        .mark_line(color=theme.REFERENCE.expr, strokeDash=[5, 3], strokeWidth=1.4, clip=True)
        .encode(x=alt.X("x:Q"), y=alt.Y("expert_bias:Q"))
    )
    words = f"{gap:g} below the highest: no score makes up for more"
    text = (
        alt.Chart(limits.drop_nulls().tail(1).with_columns(name=pl.lit(words)))
        .mark_text(align="right", baseline="bottom", dx=-6, dy=-3, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
        .encode(x=alt.XValue(alt.expr("width")), y=alt.Y("expert_bias:Q"), text=alt.Text("name:N"))
    )
    return [line, text]
