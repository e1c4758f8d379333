"""Charts of two simulated rules, A and B, over the steps.

A slider redraws all of them, so everything that changes with it is data and the specification stays: the
functions that end in `_rows` make the data sets, which `Spec.with_rows` exchanges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, inks, series, switches, theme
from explorer.charts.anchored import anchored
from explorer.charts.labels import EndLabel, break_label, end_labels
from explorer.charts.loads import load_bars
from explorer.charts.playhead import playhead_layers
from explorer.charts.theme import RunStyle

REFERENCE_LABEL = "random routing"
OF_EACH = alt.ExprRef("luminance(background) < 0.3 ? datum.dark : datum.light")


def styles(families: Mapping[str, str]) -> list[RunStyle]:
    """The colour of each side's family; of two rules of one family B has a shade of it, and B is dashed."""
    run_styles: list[RunStyle] = []
    for side, family in families.items():
        shade = "sequence" if any(style.family == family for style in run_styles) else ""
        ink, text = theme.family_ink(family, shade), theme.family_text(family, shade)
        dash = inks.DASHES["sequence"][0] if run_styles else (1, 0)
        run_styles.append(RunStyle(side, side, family, ink, text, dash))
    return run_styles


def line_rows(
    frame: pl.DataFrame,
    families: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    reference: tuple[float, float] | None,
    height: int = 280,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Lines, reference and texts at the line ends.

    frame: columns run_id (A, B), x, value, low, high, first_step, last_step. `reference`: mean and 95th
    percentile of what random routing shows.
    """
    sides = styles(families)
    data = series.tidy(frame, sides, value="value", low="low", high="high")
    references = [reference] if reference is not None and reference[0] > 0 else []
    lines = pl.DataFrame(
        {"value": [r[0] for r in references], "p95": [r[1] for r in references]},
        schema={"value": pl.Float64, "p95": pl.Float64},
    )
    last = series.last_values(data)
    ends = [EndLabel(break_label(labels[s.label]), last[s.label], s.text) for s in sides if s.label in last]
    ends += [EndLabel(REFERENCE_LABEL, r[0], theme.NEUTRAL_TEXT, strong=False) for r in references]
    low, high = series.y_range(data, zero=True, log_y=False)
    texts = end_labels(ends, field="value", low=low, high=high, height=height)
    return data, lines, texts[0].data


def lines(
    rows: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame],
    families: Mapping[str, str],
    *,
    y_title: str,
    playhead: float | None = None,
    events: pl.DataFrame | None = None,
    height: int = 280,
) -> theme.Figure:
    """One line per side with its band from lowest to highest, the reference behind.

    `rows`: `line_rows`, then `switches.rows`.
    """
    data, reference, texts, changes = rows
    layers = series.line_layers(data, styles(families), x_title="step", y_title=y_title, log_y=False)
    behind = []
    if not reference.is_empty():
        base = alt.Chart(reference).encode(y=alt.Y("value:Q"))
        behind = [
            base.mark_rect(color=theme.REFERENCE_BAND.expr, opacity=0.45).encode(y2=alt.Y2("p95:Q")),
            base.mark_rule(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=[2, 2]),
        ]
    marks = event_marks.event_layers(events, series.step_span(data))
    chart = alt.layer(
        *behind, *layers, *_texts(texts), *_changes(changes), *marks, *playhead_layers(playhead)
    )
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def trajectory_rows(
    frame: pl.DataFrame, *, named: Sequence[int], limits: tuple[float, float], height: int = 260
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Lines, ends of the y axis and texts. frame: columns step, expert, value; `named` are drawn bold."""
    bold_experts = list(named)[: len(theme.EXPERT_INKS)]
    inks = dict(zip(bold_experts, theme.EXPERT_INKS, strict=False))
    ink_rows = pl.DataFrame(
        {
            "expert": pl.Series(bold_experts, dtype=pl.Int32),
            "light": pl.Series([i.light for i in inks.values()], dtype=pl.String),
            "dark": pl.Series([i.dark for i in inks.values()], dtype=pl.String),
        }
    )
    data = frame.join(ink_rows, on="expert", how="left", maintain_order="left")
    low, high = limits if limits[1] > limits[0] else (limits[0] - 0.01, limits[1] + 0.01)
    ends = []
    if not frame.is_empty():
        last = frame.filter(pl.col("step") == pl.col("step").max()).select("expert", "value").rows()
        ends = [EndLabel(f"expert {e}", v, inks[e]) for e, v in last if e in inks]
    texts = end_labels(ends, field="value", low=low, high=high, height=height)
    return data, pl.DataFrame({"limit": [low, high]}), texts[0].data


def trajectories(
    rows: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame],
    *,
    y_title: str,
    playhead: float | None = None,
    events: pl.DataFrame | None = None,
    height: int = 260,
) -> theme.Figure:
    """One thin line per expert, the named ones bold. `rows`: `trajectory_rows`, then `switches.rows`."""
    data, limits, texts, changes = rows
    scale = alt.Scale(zero=False, nice=False)
    y = alt.Y("value:Q", title=y_title, scale=scale, axis=alt.Axis(tickCount=5))
    base = alt.Chart(data).encode(
        x=alt.X("step:Q", title="step", scale=scale, axis=theme.step_axis()),
        y=y,
        detail=alt.Detail("expert:N"),
    )
    thin = base.mark_line(clip=True, color=theme.FAINT_LINE.expr, strokeWidth=0.9, opacity=0.65)
    bold = (
        base.transform_filter("isValid(datum.light)")
        .mark_line(clip=True, strokeWidth=2.2, color=OF_EACH)
        .encode(tooltip=[alt.Tooltip("expert:N"), alt.Tooltip("value:Q", format="+.4f")])
    )
    # Without a bias no line is bold. The rows are in the order of steps, as lines placed in pixels need them.
    bold = anchored(bold)
    # Two invisible points make two panels beside each other share their y axis.
    edge = alt.Chart(limits).mark_point(opacity=0).encode(y=alt.Y("limit:Q", title=y_title, scale=scale))
    marks = event_marks.event_layers(events)
    chart = alt.layer(
        edge, thin, bold, *_texts(texts), *_changes(changes), *marks, *playhead_layers(playhead)
    )
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def _changes(changes: pl.DataFrame) -> list[Any]:
    """Where a rule takes the place of another; above the plot there is the name of the playhead, too."""
    return [] if changes.is_empty() else switches.layers(changes, lift=1)


def _texts(texts: pl.DataFrame) -> list[Any]:
    """The layers of `charts.labels.end_labels` with other rows."""
    layers = end_labels([], field="value", low=0.0, high=1.0, height=1)
    return [layer.properties(data=texts) for layer in layers]


def bars(now: pl.DataFrame, top: float) -> theme.Figure:
    """Loads of one step as `charts.loads` draws them, with a y axis that reaches to `top` at least.

    Two panels beside each other share it: a bar of 8 times uniform must not look like one of 1.2.
    """
    figure = load_bars(now)
    edge = alt.Chart(bar_limit(top)).mark_point(opacity=0)
    figure.layer = [edge.encode(y=alt.Y("limit:Q", title=theme.AXIS["load_ratio"])), *figure.layer]
    return figure


def bar_limit(top: float) -> pl.DataFrame:
    """The row that makes the axis of `bars` reach that far."""
    return pl.DataFrame({"limit": [float(top)]})
