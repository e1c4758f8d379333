"""Charts of the probe batch: scores of a token, tokens and history of an expert, router saturation.

Charts that follow a click keep their specification and exchange rows (`Spec.with_rows`), so the data sets of
a chart differ in their columns.
"""

from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, series, theme
from explorer.charts.domains import DOMAIN_LABEL
from explorer.charts.labels import LINE_PX, spread_apart
from explorer.charts.order import BY_PLACE
from explorer.charts.playhead import playhead_layers
from explorer.charts.scales import updates_before_probe

ACCENT = theme.Ink("#0B62A4", "#4AA8E0")
PALE = theme.Ink("#C3D9EB", "#24445F")
CHOSEN, BROUGHT, PUSHED, LEFT = "chosen", "brought in by the bias", "pushed out by the bias", "not chosen"
STATES = {
    CHOSEN: ACCENT,
    BROUGHT: theme.Ink("#00855F", "#35C79A"),
    PUSHED: theme.Ink("#D55E00", "#F28A3C"),
    LEFT: theme.Ink("#B4BBC6", "#5A6272"),
}
SCORE_HEIGHT = 280
ROW_PX = 23
COLUMNS = ("expert", "score", "compared", "bias", "state", "before", "after", "marked")
"""Columns of the frame of `token_scores`."""


def token_scores(
    frame: pl.DataFrame, cuts: pl.DataFrame, *, biased: bool = True, height: int = SCORE_HEIGHT
) -> theme.Figure:
    """Scores of one token as bars, the bias as an arrow on each bar, and the cut-off of the choice.

    frame: one row per expert with COLUMNS; the router compares score, or compared (score with bias); state is
    one of STATES; before and after: whether the expert is chosen without and with the bias. cuts: of
    `cut_rows`. biased: whether a bias is applied, so that there are arrows.
    """
    if frame.is_empty():
        return theme.no_data("no scores were recorded for this token")
    data = frame.select(COLUMNS)
    experts = data["expert"].to_list()
    x = _score_axis(experts)
    y = alt.Y(
        "score:Q", title="score, and score with bias" if biased else "score", axis=alt.Axis(tickCount=5)
    )
    tooltip = [
        alt.Tooltip("expert:O"),
        alt.Tooltip("score:Q", format=".4f"),
        alt.Tooltip("bias:Q", format="+.4f"),
        alt.Tooltip("compared:Q", title="score with bias", format=".4f"),
        alt.Tooltip("state:N", title="this expert is"),
    ]
    base = alt.Chart(data).encode(x=x, color=_state_colour(biased), tooltip=tooltip)
    band = (
        alt.Chart(data)
        .transform_filter("datum.marked")
        .mark_bar(color=theme.REFERENCE_BAND.expr, opacity=0.45)
        .encode(x=x, y=alt.YValue(0), y2=alt.Y2Value("height"))
    )
    bars = base.mark_bar(opacity=0.38).encode(y=y)
    arrows = _arrows(base, y, size=110 if len(experts) <= 32 else 45) if biased else []
    chart = alt.layer(band, bars, *arrows, *_cuts(cuts))
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def _state_colour(biased: bool) -> alt.Color:
    """The colour of each of STATES; without a bias the legend names only those that can occur."""
    return alt.Color(
        "state:N",
        scale=alt.Scale(domain=list(STATES), range=[ink.expr for ink in STATES.values()]),
        legend=alt.Legend(
            title=None,
            orient="bottom",
            values=list(STATES) if biased else [CHOSEN, LEFT],
            columns=2,
            symbolType="square",
            symbolStrokeWidth=0,
            symbolOpacity=1,
            labelLimit=240,
        ),
    )


def _score_axis(experts: list[int]) -> alt.X:
    """The experts from left to right."""
    every = max(1, -(-len(experts) // 16))
    return alt.X(
        "expert:O",
        # Explicit: the band of the marked expert is the first layer and would put it first.
        sort=experts,
        title=theme.AXIS["expert"],
        axis=alt.Axis(values=experts[::every], labelAngle=0, ticks=False, labelOverlap="greedy"),
        scale=alt.Scale(paddingInner=0.3 if len(experts) <= 32 else 0.15),
    )


def _arrows(base: alt.Chart, y: alt.Y, size: int) -> list[alt.Chart]:
    """The bias as an arrow from each score, and a ring where the score alone would have been chosen."""
    moved = base.transform_filter("isValid(datum.compared)")
    shaft = moved.mark_rule(strokeWidth=2.5).encode(y=y, y2=alt.Y2("compared:Q"))
    # One layer for both directions: a layer without rows would leave its axis without an extent.
    head = moved.mark_point(
        shape=alt.ExprRef("datum.compared > datum.score ? 'triangle-up' : 'triangle-down'"),
        size=alt.ExprRef(f"datum.compared === datum.score ? 0 : {size}"),
        filled=True,
        opacity=1,
    )
    ring = base.transform_filter("datum.before").mark_point(
        shape="circle", filled=False, strokeWidth=2, opacity=1, size=size + 40
    )
    return [shaft, head.encode(y=alt.Y("compared:Q")), ring.encode(y=y)]


def _cuts(cuts: pl.DataFrame) -> list[alt.Chart]:
    """The cut-offs of the choice as lines, each with its name. cuts: of `cut_rows`."""
    rules = alt.Chart(cuts).mark_rule(strokeWidth=1.4, color=theme.STRONG_TEXT.expr)
    # Literal dashes: a scale of dashes would get a legend of its own.
    solid = rules.transform_filter("datum.biased").mark_rule(
        strokeWidth=1.4, color=theme.STRONG_TEXT.expr, strokeDash=[6, 3]
    )
    faint = rules.transform_filter("!datum.biased").mark_rule(
        strokeWidth=1.2, color=theme.REFERENCE.expr, strokeDash=[2, 3]
    )
    names = (
        alt.Chart(cuts)
        .mark_text(align="left", dx=7, fontSize=11, clip=False, lineBreak="\n", color=theme.STRONG_TEXT.expr)
        .encode(x=alt.XValue(alt.expr("width")), y=alt.Y("place:Q"), text=alt.Text("name:N"))
    )
    return [solid.encode(y=alt.Y("cut:Q")), faint.encode(y=alt.Y("cut:Q")), names]


def cut_rows(
    unbiased: float | None, biased: float | None, low: float, high: float, *, height: int = SCORE_HEIGHT
) -> pl.DataFrame:
    """The cut-offs between the lowest chosen and the highest rejected value, their names moved apart.

    unbiased, biased: the cut-offs without and with the bias; None for no line. low, high: about the range of
    the axis. Columns: cut, name, biased, place.
    """
    pairs = [
        (value, name, is_biased)
        for value, name, is_biased in (
            (biased, "cut-off" if unbiased is None else "cut-off with bias", True),
            (unbiased, "without bias", False),
        )
        if value is not None
    ]
    span = max(high - low, 1e-9)
    sizes = [(LINE_PX + 2) * span / height] * len(pairs)
    places = spread_apart([value for value, _, _ in pairs], sizes, low, high)
    schema = {"cut": pl.Float64, "name": pl.String, "biased": pl.Boolean, "place": pl.Float64}
    rows = [(*pair, place) for pair, place in zip(pairs, places, strict=True)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def shared_tokens(frame: pl.DataFrame, *, even: float, title: str, rows: int = 8) -> theme.Figure:
    """Experts that share an expert's tokens: bars of shares, a tick at the share that loads alone predict.

    frame: name, share, expected, tokens, place (`order.with_places`). even: the share under uniform routing.
    """
    if frame.is_empty():
        return theme.no_data("this expert received no token of the probe")
    y = alt.Y("name:N", sort=BY_PLACE, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=120))
    base = alt.Chart(frame).encode(
        y=y,
        tooltip=[
            alt.Tooltip("name:N", title="shared with"),
            alt.Tooltip("share:Q", title="share of its tokens", format=".1%"),
            alt.Tooltip("expected:Q", title="from the loads alone", format=".1%"),
            alt.Tooltip("tokens:Q", format=",d"),
        ],
    )
    x = alt.X("share:Q", title=title, axis=alt.Axis(format=".0%", tickCount=5))
    bars = base.mark_bar(color=ACCENT.expr, cornerRadiusEnd=1, height=ROW_PX - 9).encode(x=x)
    tick = base.mark_tick(color=theme.STRONG_TEXT.expr, thickness=2, size=ROW_PX - 5).encode(
        x=alt.X("expected:Q")
    )
    line = _reference(even, "uniform")
    chart = alt.layer(bars, tick, *line)
    figure: alt.LayerChart = theme.titled(chart, height=rows * ROW_PX)
    return figure


def favourite_texts(frame: pl.DataFrame, *, rows: int = 10) -> theme.Figure:
    """The texts that an expert receives most often, over the faint bars of all their occurrences.

    frame: label, tokens, occurrences, share, place (`order.with_places`).
    """
    if frame.is_empty():
        return theme.no_data("this expert received no token of the probe")
    y = alt.Y("label:N", sort=BY_PLACE, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=140))
    base = alt.Chart(frame).encode(
        y=y,
        tooltip=[
            alt.Tooltip("label:N", title="token"),
            alt.Tooltip("tokens:Q", title="times routed to this expert", format=",d"),
            alt.Tooltip("occurrences:Q", title="times in the probe", format=",d"),
            alt.Tooltip("share:Q", format=".0%"),
        ],
    )
    axis = alt.Axis(tickCount=5, tickMinStep=1, format="d")
    every = base.mark_bar(color=PALE.expr, height=ROW_PX - 9).encode(
        x=alt.X("occurrences:Q", title="times in the probe", axis=axis)
    )
    own = base.mark_bar(color=ACCENT.expr, height=ROW_PX - 9).encode(x=alt.X("tokens:Q"))
    figure: alt.LayerChart = theme.titled(alt.layer(every, own), height=rows * ROW_PX)
    return figure


def served_domains(frame: pl.DataFrame) -> theme.Figure:
    """Load of an expert by domain, relative to the uniform load. frame: of `probe.expert_domains`."""
    if frame.is_empty():
        return theme.no_data("the probe names no domains")
    data = frame.select("domain", "tokens", pl.col("load_ratio").fill_null(0.0))
    domain_axis = alt.Axis(ticks=False, domain=False, labelExpr=DOMAIN_LABEL)
    bars = (
        alt.Chart(data)
        .mark_bar(color=ACCENT.expr, cornerRadiusEnd=1, height=ROW_PX - 9)
        .encode(
            y=alt.Y("domain:N", sort=None, title=None, axis=domain_axis),
            x=alt.X("load_ratio:Q", title=theme.AXIS["load_ratio"], axis=alt.Axis(tickCount=5)),
            tooltip=[
                alt.Tooltip("domain:N"),
                alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
                alt.Tooltip("tokens:Q", format=",d"),
            ],
        )
    )
    chart = alt.layer(bars, *_reference(1.0, "uniform"))
    figure: alt.LayerChart = theme.titled(chart, height=max(3, data.height) * ROW_PX)
    return figure


def _reference(value: float, name: str) -> list[alt.Chart]:
    """A vertical line with its name above the plot."""
    data = pl.DataFrame({"at": [value], "called": [name]})
    base = alt.Chart(data).encode(x=alt.X("at:Q"))
    rule = base.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
    text = base.mark_text(
        baseline="bottom", dy=-3, fontSize=11, clip=False, fontWeight=600, color=theme.STRONG_TEXT.expr
    )
    return [rule, text.encode(y=alt.YValue(0), text=alt.Text("called:N"))]


def expert_history(
    everyone: pl.DataFrame,
    one: pl.DataFrame,
    *,
    y_title: str,
    level: float | None = None,
    events: pl.DataFrame | None = None,
    height: int = 190,
) -> theme.Figure:
    """One expert over training, bold, among all others, faint; with the playhead at the probe.

    everyone: x, value, expert. one: x, value, low, high (the band of its bins). level: a dashed reference
    line, such as the uniform load; the axis then begins at zero. Without a level, as for biases, the axis
    spans the values. events: see `event_marks.event_layers`.
    """
    if everyone.is_empty():
        return theme.no_data("nothing was recorded during training")
    x = alt.X(
        "x:Q", title=theme.AXIS["step"], scale=alt.Scale(zero=False, nice=False), axis=theme.step_axis()
    )
    scale = series.free_scale() if level is None else alt.Scale(zero=True)
    y = alt.Y("value:Q", title=y_title, axis=alt.Axis(tickCount=5), scale=scale)
    faint = (
        alt.Chart(everyone)
        .mark_line(clip=True, color=theme.FAINT_LINE.expr, strokeWidth=0.8, opacity=0.45)
        .encode(x=x, y=y, detail=alt.Detail("expert:N"))
    )
    band = alt.Chart(one).mark_area(clip=True, color=ACCENT.expr, opacity=0.2)
    line = alt.Chart(one).mark_line(clip=True, color=ACCENT.expr, strokeWidth=2.4)
    layers: list[Any] = [
        faint,
        band.encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        line.encode(x=x, y=y),
    ]
    if level is not None:
        at = alt.Chart(pl.DataFrame({"level": [level]})).encode(y=alt.Y("level:Q"))
        layers.append(at.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2))
    span = float(everyone["x"].min()), float(everyone["x"].max())  # type: ignore[arg-type]
    marks = event_marks.event_layers(events, span)
    chart = alt.layer(*layers, *marks, *playhead_layers(0.0))
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def _usable(frame: pl.DataFrame) -> pl.DataFrame:
    """The probes that a logarithmic axis has room for."""
    return frame.filter(pl.col("saturation").is_not_null() & (pl.col("step") > 0))


def saturation_rows(frame: pl.DataFrame, layer: int) -> pl.DataFrame:
    """The rows of `saturation`: x, layer, saturation, is_bold (here, so another layer is no other chart)."""
    return _usable(frame).select(
        x=pl.col("step").cast(pl.Float64),
        layer="layer",
        saturation=pl.col("saturation").round(4),
        is_bold=pl.col("layer") == layer,
    )


def saturation(frame: pl.DataFrame, *, layer: int, height: int = 220) -> theme.Figure:
    """Share of the last probe's choices that each probe already made, one line per layer.

    frame: columns of `queries.specialisation.saturation`. `layer` is bold; steps are on a logarithmic axis.
    """
    data = saturation_rows(frame, layer)
    if data["x"].n_unique() < 2:
        return theme.no_data("router saturation needs two probes")
    steps = sorted(data["x"].unique().to_list())
    base = alt.Chart(data).encode(
        x=updates_before_probe(steps),
        y=alt.Y(
            "saturation:Q",
            title="final choices already made",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format=".0%", tickCount=5),
        ),
        tooltip=[
            alt.Tooltip("x:Q", title="after updates", format="d"),
            alt.Tooltip("layer:O"),
            alt.Tooltip("saturation:Q", title="already as at the end", format=".1%"),
        ],
    )
    faint = base.mark_line(color=theme.FAINT_LINE.expr, strokeWidth=1.2).encode(detail=alt.Detail("layer:N"))
    marks = base.transform_filter("datum.is_bold")
    bold = marks.mark_line(color=ACCENT.expr, strokeWidth=2.6, point=alt.OverlayMarkDef(color=ACCENT.expr))
    layers: list[Any] = [faint, bold]
    chance = _usable(frame)["chance"].drop_nulls()
    if len(chance):
        at = alt.Chart(pl.DataFrame({"chance": [float(chance[0])], "called": ["random routing"]})).encode(
            y=alt.Y("chance:Q")
        )
        layers.append(at.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2))
        text = at.mark_text(
            align="right", baseline="bottom", dy=-3, fontSize=11, color=theme.STRONG_TEXT.expr
        )
        layers.append(text.encode(x=alt.XValue(alt.expr("width")), text=alt.Text("called:N")))
    figure: alt.LayerChart = theme.titled(alt.layer(*layers), height=height)
    return figure
