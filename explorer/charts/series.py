"""What every figure of lines over steps shares: line, band, hover points and labels at the ends."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.anchored import anchored
from explorer.charts.labels import EndLabel, break_label, end_labels
from explorer.charts.scales import log_ticks
from explorer.charts.theme import RunStyle
from explorer.wording import counted


def tidy(
    frame: pl.DataFrame, styles: Sequence[RunStyle], *, value: str, low: str, high: str, odd: str = ""
) -> pl.DataFrame:
    """Columns run, x, value, low, high, first_step, last_step; rows without a value are left out.

    odd: a column that counts the samples of a row that are NaN or infinite. Where it is above 0 and no finite
    value is left, the row stays without a value and breaks the line.
    """
    finite = {name: _finite(name) for name in dict.fromkeys((value, low, high))}
    broken = pl.col(odd) > 0 if odd in frame.columns else pl.lit(False)
    names = pl.DataFrame(
        {"run_id": [s.run_id for s in styles], "run": [s.label for s in styles]},
        schema={"run_id": pl.String, "run": pl.String},
    )
    return (
        frame.join(names, on="run_id", how="inner", maintain_order="left")
        .filter(finite[value].is_not_null() | broken)
        .select(
            "run",
            "run_id",
            pl.col("x").cast(pl.Float64),
            value=finite[value],
            low=finite[low],
            high=finite[high],
            first_step=pl.col("first_step").cast(pl.Int64),
            last_step=pl.col("last_step").cast(pl.Int64),
        )
        .sort("run", "x", maintain_order=True)
    )


def _finite(name: str) -> pl.Expr:
    """The column as float64, NULL where it is not finite."""
    number = pl.col(name).cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)


def not_finite_layers(frame: pl.DataFrame, styles: Sequence[RunStyle], *, odd: str) -> list[Any]:
    """A shade over the bins with values that are not finite, in the run's colour, named once a run.

    Always the same layers; they are empty where everything is finite.
    """
    spans = not_finite_spans(frame, styles, odd=odd)
    base = alt.Chart(spans).encode(
        x=alt.X("start:Q"),
        tooltip=[alt.Tooltip("run:N"), alt.Tooltip("words:N", title="not finite in")],
    )
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=run_legend(styles))
    shade = base.mark_rect(opacity=0.16, clip=True).encode(x2=alt.X2("end:Q"), color=colour)
    edge = base.mark_rule(strokeWidth=1.2, strokeDash=[2, 2], clip=True).encode(color=colour)
    name = base.transform_filter("datum.named").mark_text(
        align="left", baseline="bottom", dx=4, dy=-4, fontSize=11, clip=True, color=theme.NEUTRAL_TEXT.expr
    )
    name = name.encode(y=alt.YValue(alt.expr("height")), text=alt.TextValue("not finite"))
    return [anchored(layer) for layer in (shade, edge, name)]


def not_finite_spans(frame: pl.DataFrame, styles: Sequence[RunStyle], *, odd: str) -> pl.DataFrame:
    """Rows of neighbouring bins with such values: run, start and end on the x axis, words, named (the longest
    of a run)."""
    schema = {
        "run": pl.String,
        "start": pl.Float64,
        "end": pl.Float64,
        "words": pl.String,
        "named": pl.Boolean,
    }
    if odd not in frame.columns or frame.is_empty():
        return pl.DataFrame(schema=schema)
    rows: list[tuple[str, float, float, str, bool]] = []
    for style in styles:
        mine = frame.filter((pl.col("run_id") == style.run_id) & pl.col("x").is_not_null()).sort("x")
        pieces = mine.with_columns(piece=(pl.col(odd) > 0).rle_id()).filter(pl.col(odd) > 0)
        spans = [
            (
                style.label,
                float(piece["x"][0]),
                float(piece["x"][-1]),
                _steps(int(piece["first_step"][0]), int(piece["last_step"][-1]), int(piece[odd].sum())),
            )
            for piece in pieces.partition_by("piece", maintain_order=True)
        ]
        longest = max(spans, key=lambda span: span[2] - span[1], default=None)
        rows += [(*span, span is longest) for span in spans]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _steps(first: int, last: int, count: int) -> str:
    if first == last:
        return f"step {first}"
    return f"{counted(count, 'recorded step')} of {first} to {last}"


def extent_layer(frame: pl.DataFrame) -> Any:
    """Two invisible points that make the x axis reach over every recorded step, values or not."""
    xs = frame["x"].cast(pl.Float64).drop_nulls() if "x" in frame.columns else pl.Series(dtype=pl.Float64)
    ends = pl.DataFrame({"x": [xs.min(), xs.max()] if len(xs) else []}, schema={"x": pl.Float64})
    return alt.Chart(ends).mark_point(opacity=0).encode(x=alt.X("x:Q"))


def run_legend(styles: Sequence[RunStyle]) -> alt.Legend | None:
    """A legend only when there are too many runs for labels at the line ends."""
    if len(styles) <= theme.MAX_DIRECT_LABELS:
        return None
    return alt.Legend(
        title=None,
        orient="top",
        columns=2,
        labelLimit=360,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolSize=400,
        symbolOpacity=1,
    )


def x_axis(title: str) -> alt.X:
    axis = theme.step_axis(format="~s" if title == theme.AXIS["tokens_seen"] else "~f")
    return alt.X("x:Q", title=title, scale=alt.Scale(zero=False, nice=False), axis=axis)


def free_scale() -> alt.Scale:
    """A scale for values whose zero means nothing: it spans the data, as the labels at line ends expect."""
    return alt.Scale(zero=False, nice=False, padding=6)


def y_axis(title: str, log_y: bool, *, zero: bool, field: str = "value") -> alt.Y:
    scale = alt.Scale(type="log", nice=False, padding=6) if log_y else alt.Scale(zero=zero)
    axis = alt.Axis(values=log_ticks(), format="~g") if log_y else alt.Axis(tickCount=5, format="~r")
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)


def line_layers(
    data: pl.DataFrame,
    styles: Sequence[RunStyle],
    *,
    x_title: str,
    y_title: str,
    log_y: bool = False,
    zero: bool = True,
    stroke_width: float = 2.0,
    opacity: float = 1.0,
) -> list[Any]:
    """Band from lowest to highest inside each bin, the raw line, and points that appear on hover."""
    legend = run_legend(styles)
    # The same channel in every layer: one layer without a legend would take it from the others.
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=legend)
    dash = alt.StrokeDash("run:N", scale=theme.dash_scale(styles), legend=legend)
    x, y = x_axis(x_title), y_axis(y_title, log_y, zero=zero)
    base = alt.Chart(data).encode(x=x, y=y)
    band = (
        alt.Chart(data)
        .mark_area(opacity=0.18, clip=True, line=False)
        .encode(x=x, y=y_axis(y_title, log_y, zero=zero, field="low"), y2=alt.Y2("high:Q"), color=colour)
    )
    line = (
        base.mark_line(strokeWidth=stroke_width, opacity=opacity, clip=True)
        .encode(color=colour, strokeDash=dash)
        .properties(name="lines")
        .add_params(theme.zoom())
    )
    # An imported snapshot has one step, of which a line shows nothing.
    alone = data.filter(pl.len().over("run") == 1)
    dots = alt.Chart(alone).mark_point(filled=True, size=60, clip=True).encode(x=x, y=y, color=colour)
    hover = hover_points(base.encode(color=colour), y_title)
    return [band, line, hover] if alone.is_empty() else [band, line, dots, hover]


def hover_points(base: alt.Chart, y_title: str) -> alt.Chart:
    """The point of a line that is nearest to the pointer, with its values. base: encodes x, y and colour."""
    near = alt.selection_point(
        name="near", nearest=True, on="pointerover", clear="pointerout", fields=["x", "run"], empty=False
    )
    points: alt.Chart = (
        base.transform_filter("isValid(datum.value)")
        .mark_point(filled=True, size=55, clip=True)
        .encode(
            opacity=alt.condition(near, alt.value(1), alt.value(0)),
            tooltip=[
                alt.Tooltip("run:N", title="run"),
                alt.Tooltip("first_step:Q", title="from step", format="d"),
                alt.Tooltip("last_step:Q", title="to step", format="d"),
                alt.Tooltip("value:Q", title=y_title.split(" (")[0], format=".4g"),
                alt.Tooltip("low:Q", title="lowest", format=".4g"),
                alt.Tooltip("high:Q", title="highest", format=".4g"),
            ],
        )
        .properties(name="points")
        .add_params(near)
    )
    return anchored(points)


def mean_layers(frame: pl.DataFrame, styles: Sequence[RunStyle]) -> list[Any]:
    """The mean over the last 100 steps as a bold line; never without the raw one under it."""
    column = "max_vio_mean100"
    data = tidy(frame, styles, value=column, low=column, high=column)
    line = alt.Chart(data).mark_line(strokeWidth=2.4, clip=True)
    return [
        line.encode(
            x=alt.X("x:Q"),
            y=alt.Y("value:Q"),
            color=alt.Color("run:N", scale=theme.colour_scale(styles)),
            strokeDash=alt.StrokeDash("run:N", scale=theme.dash_scale(styles)),
        )
    ]


def step_span(data: pl.DataFrame) -> tuple[float, float] | None:
    """First and last step behind the lines; a bin stands at its end, so the axis may begin later."""
    if data.is_empty():
        return None
    return float(data["first_step"].min()), float(data["last_step"].max())  # type: ignore[arg-type]


def last_values(data: pl.DataFrame) -> dict[str, float]:
    """Run label -> its last value."""
    last = data.drop_nulls("value").sort("x").group_by("run", maintain_order=True).last()
    return dict(last.select("run", "value").rows())


def run_end_labels(data: pl.DataFrame, styles: Sequence[RunStyle]) -> list[EndLabel]:
    """Labels at the line ends, or none where a legend does it."""
    if len(styles) > theme.MAX_DIRECT_LABELS:
        return []
    last = last_values(data)
    return [EndLabel(break_label(s.label), last[s.label], s.text) for s in styles if s.label in last]


def y_range(data: pl.DataFrame, *, zero: bool, log_y: bool) -> tuple[float, float]:
    """About what the y axis will show, for placing labels."""
    low, high = float(data["low"].min()), float(data["high"].max())  # type: ignore[arg-type]
    if log_y:
        positive = data.filter(pl.col("low") > 0)["low"]
        low = float(positive.min()) if positive.len() else high / 1000  # type: ignore[arg-type]
    elif zero:
        low = min(0.0, low)
    return low, high if high > low else low + 1.0


def label_layer(
    ends: Sequence[EndLabel], data: pl.DataFrame, *, height: int, zero: bool, log_y: bool, font_size: int = 12
) -> list[alt.Chart]:
    low, high = y_range(data, zero=zero, log_y=log_y)
    values = [end.value for end in ends if end.value > 0 or not log_y]
    low, high = min([low, *values]), max([high, *values])
    return end_labels(
        ends, field="value", low=low, high=high, height=height, log_y=log_y, font_size=font_size
    )
