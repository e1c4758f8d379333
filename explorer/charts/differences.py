"""Paired differences between two arms: the mean, its 95 % interval and every seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.value_range import ValueRange, across, down

# A row is a line of text above its interval, so that long names take nothing from the plot's width.
ROW_PX, TEXT_PX, MARK_PX = 50, 13, 33
HEAD_PX = 30
AXIS_PX = 38
NARROW_PX = 520
"""Below this width an arm's name and its whole verdict would overlap."""


def paired_differences(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> theme.Figure:
    """One row per arm, one panel per metric: mean, interval, a tick per seed, and the line at zero.

    rows: mappings with metric, arm, mean, half_width (None with one seed), resolved, values (the
    difference of every seed) and optionally name (in place of arm), family, scope, survives and comparisons
    (Holm's correction over a family of so many pairs). An interval that covers zero is drawn hollow and says
    "not significant"; one that does not survive the correction is hollow as well and says among how many
    pairs of arms.

    All panels are one view with scales of their own inside (`ValueRange`), because Vega can fit only a
    single view into its container.
    """
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    if not metrics:
        return theme.no_data("no pairs: two arms with equal seeds are needed", title=title)
    arms: list[dict[str, Any]] = []
    seeds: list[dict[str, Any]] = []
    grid: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    top = 0
    for metric in metrics:
        metric_rows = [row for row in rows if str(row["metric"]) == metric]
        scale = _scale(metric_rows)
        first, bottom = top + HEAD_PX, top + HEAD_PX + ROW_PX * len(metric_rows)
        heads.append({"y": float(top + HEAD_PX / 2), "text": f"difference in {metric}"})
        for i, row in enumerate(metric_rows):
            y = float(first + i * ROW_PX + MARK_PX)
            arms.append(_arm(row, scale, y))
            seeds += [{"y": y, "x": scale(v), "value": v, "rule": arms[-1]["rule"]} for v in _values(row)]
        rows_at = [first + i * ROW_PX + MARK_PX for i in range(len(metric_rows))]
        grid += [_tick(tick, scale, y, last=y == rows_at[-1]) for tick in scale.ticks() for y in rows_at]
        top = bottom + AXIS_PX
    chart = alt.layer(*_grid(grid, top), *_heads(heads, top), *_marks(arms, seeds, top))
    figure: alt.LayerChart = theme.titled(chart, title=title, height=top)
    return figure


def _scale(rows: Sequence[Mapping[str, Any]]) -> ValueRange:
    """The range of the differences of one metric, zero always inside."""
    values = [0.0]
    for row in rows:
        half = float(row["half_width"] or 0.0)
        values += [float(row["mean"]) - half, float(row["mean"]) + half, *_values(row)]
    return ValueRange.around(values)


def _tick(value: float, scale: ValueRange, y: int, *, last: bool) -> dict[str, Any]:
    """A piece of a vertical line beside one interval, so that no line crosses a text."""
    text = "0" if value == 0 else f"{value:+g}".replace("-", "−")
    return {
        "x": scale(value),
        "y": y - 12.0,
        "y2": y + 13.0,
        "text": text if last else "",
        "zero": value == 0,
    }


def _values(row: Mapping[str, Any]) -> list[float]:
    return [float(value) for value in row["values"]]


def _arm(row: Mapping[str, Any], scale: ValueRange, y: float) -> dict[str, Any]:
    mean, half = float(row["mean"]), float(row["half_width"] or 0.0)
    return {
        "y": y,
        "text_y": y - MARK_PX + TEXT_PX,
        "arm": str(row.get("name", row["arm"])),
        "rule": theme.rule_key(str(row.get("family", "none")), str(row.get("scope", ""))),
        "x": scale(mean),
        "left": scale(mean - half),
        "right": scale(mean + half),
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "resolved": bool(row["resolved"]) and bool(row.get("survives", True)),
        "numbers": _numbers(row),
        "verdict": _verdict(row),
    }


def _numbers(row: Mapping[str, Any]) -> str:
    """Mean and half width of the interval; the mean alone with one seed."""
    mean = f"{float(row['mean']):+.3g}".replace("-", "−")
    return mean if row["half_width"] is None else f"{mean} ± {float(row['half_width']):.2g}"


def _verdict(row: Mapping[str, Any]) -> str:
    text = _numbers(row)
    if row["half_width"] is None:
        return f"{text}, one seed"
    if not row["resolved"]:
        return f"{text}, not significant"
    return text if row.get("survives", True) else f"{text}, not significant among {row['comparisons']} pairs"


def _grid(grid: list[dict[str, Any]], height: int) -> list[alt.Chart]:
    base = alt.Chart(pl.DataFrame(grid)).encode(x=across("x"))
    span = base.encode(y=down("y", height), y2=alt.Y2("y2:Q"))
    faint = span.mark_rule(color=theme.REFERENCE_BAND.expr, opacity=0.5)
    zero = span.transform_filter("datum.zero").mark_rule(color=theme.STRONG_TEXT.expr, strokeWidth=1.4)
    text = base.mark_text(baseline="top", dy=7, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
    return [faint, zero, text.encode(y=down("y2", height), text=alt.Text("text:N"))]


def _heads(heads: list[dict[str, Any]], height: int) -> list[alt.Chart]:
    text = alt.Chart(pl.DataFrame(heads)).mark_text(
        align="left", fontSize=13, fontWeight=600, color=theme.STRONG_TEXT.expr
    )
    return [text.encode(x=alt.XValue(0), y=down("y", height), text=alt.Text("text:N"))]


def _marks(arms: list[dict[str, Any]], seeds: list[dict[str, Any]], height: int) -> list[alt.Chart]:
    colours = theme.rule_scale(str(arm["rule"]) for arm in arms)
    colour = alt.Color("rule:N", scale=colours, legend=None)
    tips = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("mean:Q", title="mean difference", format="+.4g"),
        alt.Tooltip("low:Q", title="95 % from", format="+.4g"),
        alt.Tooltip("high:Q", title="to", format="+.4g"),
        alt.Tooltip("verdict:N", title="reading"),
    ]
    seed_schema = {"y": pl.Float64, "x": pl.Float64, "value": pl.Float64, "rule": pl.String}
    ticks = alt.Chart(pl.DataFrame(seeds, schema=seed_schema)).mark_tick(
        orient="vertical", size=15, thickness=1.6, opacity=0.6
    )
    seed_tip = [alt.Tooltip("value:Q", title="one seed", format="+.4g")]
    base = alt.Chart(pl.DataFrame(arms)).encode(y=down("y", height))
    interval = base.mark_rule(strokeWidth=2.4).encode(
        x=across("left"), x2=alt.X2("right:Q"), color=colour, tooltip=tips
    )
    solid = base.transform_filter("datum.resolved").mark_point(filled=True, size=130, opacity=1)
    # The page shows through an interval that covers zero.
    hollow = base.transform_filter("!datum.resolved").mark_point(
        filled=True, size=110, fill=alt.ExprRef("background"), strokeWidth=2.2, opacity=1
    )
    line = alt.Chart(pl.DataFrame(arms)).encode(y=down("text_y", height))
    names = line.mark_text(align="left", fontSize=12, color=theme.STRONG_TEXT.expr)
    # A narrow place has room for the numbers beside the name; a hollow point says "not significant" as well.
    text = alt.Text("shown:N")
    words = line.transform_calculate(shown=f"width < {NARROW_PX} ? datum.numbers : datum.verdict")
    words = words.mark_text(align="right", fontSize=12, color=theme.NEUTRAL_TEXT.expr)
    return [
        ticks.encode(y=down("y", height), x=across("x"), color=colour, tooltip=seed_tip),
        interval,
        solid.encode(x=across("x"), color=colour, tooltip=tips),
        hollow.encode(x=across("x"), stroke=alt.Stroke("rule:N", scale=colours, legend=None), tooltip=tips),
        names.encode(x=alt.XValue(0), text=alt.Text("arm:N")),
        words.encode(x=alt.XValue(alt.expr("width")), text=text),
    ]
