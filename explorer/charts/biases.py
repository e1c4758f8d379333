"""Bias trajectories of all experts of a layer, a few of them singled out."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, theme
from explorer.charts.labels import EndLabel, end_labels


def bias_trajectories(
    frame: pl.DataFrame,
    *,
    playhead: float | theme.Follow | None = None,
    events: pl.DataFrame | None = None,
    highlight: Sequence[int] = (),
    title: str = "",
    height: int = 300,
) -> theme.Figure:
    """Thin lines for every expert, coloured and named ones for `highlight` (at most six).

    frame: columns of `queries.bias_trajectories`. Hovering names an expert. Lines at +-1 appear only
    when a bias gets there: scores lie between 0 and 1, so beyond it the bias alone decides. `events`: of
    this layer, see `event_marks.event_layers`.
    """
    if frame.is_empty() or frame["bias_mean"].null_count() == frame.height:
        return theme.no_data("no expert biases: this run has no bias rule", title=title)
    chosen = [int(e) for e in dict.fromkeys(highlight)][: len(theme.EXPERT_INKS)]
    data = frame.filter(pl.col("bias_mean").is_not_null()).select(
        pl.col("first_step").cast(pl.Float64).alias("x"),
        pl.col("expert").cast(pl.Int32),
        expert_bias=pl.col("bias_mean").cast(pl.Float64).round(6),
        name=pl.lit("expert ") + pl.col("expert").cast(pl.String),
    )
    hover = alt.selection_point(
        name="hover", fields=["expert"], on="pointerover", empty=False, clear="pointerout"
    )
    pick = alt.selection_point(name="pick", fields=["expert"], on="click", empty=False)
    encoded: dict[str, Any] = {
        "x": alt.X(
            "x:Q",
            title=theme.AXIS["step"],
            scale=alt.Scale(zero=False, nice=False),
            axis=theme.step_axis(),
        ),
        "y": alt.Y("expert_bias:Q", title=theme.AXIS["expert_bias"], axis=alt.Axis(tickCount=5)),
        "detail": "expert:N",
    }
    thin = (
        alt.Chart(data)
        .mark_line(clip=True, color=theme.FAINT_LINE.expr)
        .encode(
            **encoded,
            opacity=alt.condition(hover, alt.value(1), alt.value(0.55)),
            strokeWidth=alt.condition(hover, alt.value(2.5), alt.value(0.9)),
        )
        .properties(name="thin")
        .add_params(theme.zoom())
    )
    # A wide invisible line is what the pointer meets: a hair line is too thin to hit.
    reach = (
        alt.Chart(data)
        .mark_line(clip=True, strokeWidth=9, opacity=0.001)
        .encode(**encoded, tooltip=[alt.Tooltip("name:N", title="bias of")])
        .properties(name="reach")
        .add_params(hover, pick)
    )
    inks = {expert: theme.EXPERT_INKS[i] for i, expert in enumerate(chosen)}
    scale = alt.Scale(
        domain=chosen or [-1], range=[ink.expr for ink in inks.values()] or [theme.REFERENCE.expr]
    )
    bold = (
        alt.Chart(data.filter(pl.col("expert").is_in(chosen)))
        .mark_line(clip=True, strokeWidth=2.4)
        .encode(**encoded, color=alt.Color("expert:N", scale=scale, legend=None))
    )
    low, high = float(data["expert_bias"].min()), float(data["expert_bias"].max())  # type: ignore[arg-type]
    last = data.sort("x").group_by("expert", maintain_order=True).last()
    ends = [
        EndLabel(f"expert {e}", v, inks[e])
        for e, v in last.select("expert", "expert_bias").rows()
        if e in inks
    ]
    names = end_labels(ends, field="expert_bias", low=low, high=high, height=height)
    span = (float(data["x"].min()), float(frame["last_step"].max()))  # type: ignore[arg-type]
    marks = event_marks.event_layers(events, span)
    chart = alt.layer(thin, *_walls(low, high), bold, reach, *names, *marks, *theme.playhead_layers(playhead))
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _walls(low: float, high: float) -> list[alt.Chart]:
    """Lines at +-1, drawn only where the biases reach them."""
    reached = [wall for wall in (-1.0, 1.0) if low <= wall <= high]
    data = pl.DataFrame({"expert_bias": reached}, schema={"expert_bias": pl.Float64}).with_columns(
        name=pl.lit("±1: wider than any score gap")
    )
    base = alt.Chart(data).encode(y="expert_bias:Q")
    rule = base.mark_rule(color=theme.REFERENCE.expr, strokeDash=[5, 3])
    text = base.mark_text(
        align="left", baseline="bottom", dx=6, dy=-3, fontSize=11, color=theme.NEUTRAL_TEXT.expr
    )
    return [rule, text.encode(x=alt.value(0), text="name:N")]
