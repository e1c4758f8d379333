"""Charts of the theory: the dual over steps, promise and benefit per step, moves, deviation, regret, ties."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.labels import EndLabel, end_labels

INK, TEXT = theme.FAMILIES["loss_free"], theme.FAMILY_TEXT["loss_free"]
VERDICT_INKS = {
    "sure": theme.Ink("#0072B2", "#4AA8E0"),
    "improves": theme.Ink("#9CC9E3", "#2B6285"),
    "worse": theme.Ink("#D55E00", "#F28A3C"),
    "rests": theme.Ink("#C9CED6", "#4B5261"),
}
PARTS = {
    "promise": (INK, TEXT, [1, 0]),
    "benefit": (theme.FAMILIES["aux_loss"], theme.FAMILY_TEXT["aux_loss"], [6, 3]),
}
PART_WORDS = {"promise": "predicted", "benefit": "switching"}
"""Their labels; the field names are those of the simulator."""
ROUNDING = 1e-12
"""Score per token; smaller differences of the dual are rounding."""
LEAST_SHARE = 1e-4
"""Of the largest score: smaller ones have no place on a logarithmic axis."""
SERIES_INKS = (
    (theme.Ink("#0072B2", "#4AA8E0"), theme.Ink("#005F96", "#74BFEC")),
    (theme.Ink("#00855F", "#35C79A"), theme.Ink("#006B4C", "#63D6B1")),
    (theme.Ink("#B5559A", "#E08CC8"), theme.Ink("#973F80", "#EBA9D8")),
    (theme.Ink("#9A6A00", "#E3B341"), theme.Ink("#7A5400", "#EFC566")),
    (theme.Ink("#5B57C8", "#9D99F2"), theme.Ink("#4A46B0", "#B5B2F5")),
)
DUAL_LABEL, OPTIMUM_LABEL = "D(b)", "LP optimum"
DUAL_PX, ACCOUNT_PX = 250, 240
"""Heights of the plots."""
RULE_DASHES = ((1, 0), (7, 3), (2, 2), (10, 3, 2, 3), (5, 2))


def _x(title: str = "step", *, log: bool = False, field: str = "step") -> alt.X:
    if log:
        axis = alt.Axis(values=[1, 10, 100, 1000, 10_000], format="d", grid=False)
        return alt.X(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=axis)
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=False), axis=theme.step_axis())


def _log_y(field: str, title: str) -> alt.Y:
    axis = alt.Axis(values=[10.0**power for power in range(-15, 6)], format="~g")
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=6), axis=axis)


def dual_line(frame: pl.DataFrame, optimum: float, *, height: int = DUAL_PX) -> theme.Figure:
    """D per token on its way to the optimum. frame: columns step, dual (per token)."""
    base = alt.Chart(frame).encode(
        x=_x(),
        y=alt.Y(
            "dual:Q",
            title="dual D (score per token)",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=5),
        ),
        tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("dual:Q", format=".6f")],
    )
    line = base.mark_line(strokeWidth=2.2, color=INK.expr)
    rule = (
        alt.Chart(pl.DataFrame({"dual": [optimum]}))
        .mark_rule(color=theme.REFERENCE.expr, strokeDash=[5, 3], strokeWidth=1.4)
        .encode(y=alt.Y("dual:Q"))
    )
    text = _dual_labels(frame, optimum, height)
    figure: alt.LayerChart = theme.titled(alt.layer(rule, line, *text), height=height)
    return figure


def dual_rows(frame: pl.DataFrame, optimum: float) -> tuple[pl.DataFrame, ...]:
    """The rows of `dual_line`, so that a kept chart can show another descent."""
    return frame, pl.DataFrame({"dual": [optimum]}), _dual_labels(frame, optimum, DUAL_PX)[0].data


def _dual_labels(frame: pl.DataFrame, optimum: float, height: int) -> list[alt.Chart]:
    high, end = float(frame["dual"].max()), float(frame["dual"][-1])  # type: ignore[arg-type]
    ends = [
        # On the optimum, rounding must not decide which label is the upper one.
        EndLabel(DUAL_LABEL, end if end - optimum > ROUNDING else optimum, TEXT),
        EndLabel(OPTIMUM_LABEL, optimum, theme.NEUTRAL_TEXT, strong=False),
    ]
    return end_labels(ends, field="dual", low=min(optimum, high), high=high, height=height)


def gap_line(frame: pl.DataFrame, *, height: int = 250) -> theme.Figure:
    """Distance to the optimum on a logarithmic axis. frame: columns step, gap (per token, positive)."""
    if frame.is_empty():
        return theme.no_data("the optimum is reached from the first step on", height=height)
    line = (
        alt.Chart(frame)
        .mark_line(strokeWidth=1.6, color=INK.expr)
        .encode(
            x=_x(),
            y=_log_y("gap", "dual gap (score per token)"),
            tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("gap:Q", format=".3g")],
        )
    )
    figure: alt.LayerChart = theme.titled(alt.layer(line), height=height)
    return figure


def account(frame: pl.DataFrame, names: Mapping[str, str], *, height: int = ACCOUNT_PX) -> theme.Figure:
    """Promise and benefit of every step, and above them each step's verdict.

    frame: columns step, promise, benefit (score), verdict. `names`: verdict -> words. What is smaller than
    `LEAST_SHARE` of the largest is left out of the logarithmic axis.
    """
    rows = account_rows(frame, names)
    if not rows:
        return theme.no_data("no step moves anything", height=height)
    strip, scores, _ = rows
    layers: list[Any] = [_verdict_strip(strip, names)]
    for part, (ink, _, dash) in PARTS.items():
        base = alt.Chart(scores).transform_filter(f"datum.part == '{part}'")
        line = base.mark_line(strokeWidth=1.7, color=ink.expr, strokeDash=dash, clip=True)
        layers.append(line.encode(x=_x(), y=_log_y("score", "score")))
    figure: alt.LayerChart = theme.titled(alt.layer(*layers, *_account_labels(frame, height)), height=height)
    return figure


def account_rows(frame: pl.DataFrame, names: Mapping[str, str]) -> tuple[pl.DataFrame, ...]:
    """The rows of `account`: verdicts, scores of both parts, labels; empty where no step moves anything."""
    floor = _account_top(frame) * LEAST_SHARE
    if floor <= 0:
        return ()
    scores = pl.concat(
        frame.select(
            "step", "verdict", pl.lit(part).alias("part"), score=pl.when(pl.col(part) > floor).then(part)
        )
        for part in PARTS
    )
    words = pl.col("verdict").replace_strict(dict(names), return_dtype=pl.String)
    strip = frame.select("step", end=pl.col("step") + 1, word=words)
    return strip, scores, _account_labels(frame, ACCOUNT_PX)[0].data


def _account_top(frame: pl.DataFrame) -> float:
    return max(float(frame[part].max() or 0.0) for part in PARTS)  # type: ignore[arg-type]


def _account_labels(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    """Promise and benefit at the ends of their lines."""
    top = _account_top(frame)
    ends = []
    for part, (_, ink, _) in PARTS.items():
        visible = frame.filter(pl.col(part) > top * LEAST_SHARE)[part]
        if len(visible):
            ends.append(EndLabel(PART_WORDS[part], float(visible[-1]), ink))
    low = top * LEAST_SHARE
    return end_labels(ends, field="score", low=low, high=top, height=height, log_y=True)


def _verdict_strip(verdicts: pl.DataFrame, names: Mapping[str, str]) -> Any:
    """One thin bar per step, above the plot, coloured by its verdict. verdicts: columns step, end, word."""
    scale = alt.Scale(domain=list(names.values()), range=[VERDICT_INKS[v].expr for v in names])
    legend = alt.Legend(
        title=None,
        orient="top",
        symbolType="square",
        labelLimit=320,
        columns=theme.columns_that_fit(4, 620),
        offset=24,
    )
    return (
        alt.Chart(verdicts)
        .mark_rect(clip=False)
        .encode(
            x=_x(),
            x2=alt.X2("end:Q"),
            y=alt.YValue(-20),
            y2=alt.Y2Value(-6),
            color=alt.Color("word:N", scale=scale, legend=legend),
            tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("word:N", title="the dual")],
        )
    )


def moves(frame: pl.DataFrame, *, height: int = 190) -> theme.Figure:
    """Pairs of an expert left (row) and one joined (column). frame: columns left, joined, pairs, allowed."""
    order = ["over", "exact", "under"]
    x = alt.X(
        "joined:N", sort=order, title="joins an expert that is", axis=alt.Axis(orient="top", labelAngle=0)
    )
    y = alt.Y("left:N", sort=order, title="leaves one that is")
    base = alt.Chart(frame).encode(x=x, y=y)
    tooltip = [alt.Tooltip("left:N"), alt.Tooltip("joined:N"), alt.Tooltip("pairs:Q", format=",d")]
    down = theme.Ink("#CFE4F3", "#1D4763")
    against = theme.Ink("#F9DCC4", "#5A3415")
    none = theme.Ink("#EEF1F4", "#1E232C")
    cells = []
    for test, ink in (
        ("datum.pairs > 0 && datum.allowed", down),
        ("datum.pairs > 0 && !datum.allowed", against),
        ("datum.pairs == 0", none),
    ):
        cells.append(base.transform_filter(test).mark_rect(color=ink.expr).encode(tooltip=tooltip))
    text = base.mark_text(fontSize=15, color=theme.STRONG_TEXT.expr).encode(
        text=alt.Text("pairs:Q", format=",d")
    )
    figure: alt.LayerChart = theme.titled(alt.layer(*cells, text), height=height)
    return figure


def band(frame: pl.DataFrame, width: int, *, height: int = 250) -> theme.Figure:
    """Largest deviation from the balanced load with the band. frame: columns step, deviation (tokens)."""
    scale = alt.Scale(type="symlog", constant=1)
    axis = alt.Axis(values=[0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000], format="d")
    y = alt.Y("deviation:Q", title="largest deviation (tokens)", scale=scale, axis=axis)
    line = (
        alt.Chart(frame)
        .mark_line(strokeWidth=1.8, color=INK.expr)
        .encode(x=_x(), y=y, tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("deviation:Q", format=".4g")])
    )
    area = (
        alt.Chart(pl.DataFrame({"deviation": [float(width)], "zero": [0.0]}))
        .mark_rect(color=theme.REFERENCE_BAND.expr, opacity=0.45)
        .encode(y=y, y2=alt.Y2("zero:Q"))
    )
    name = (
        alt.Chart(pl.DataFrame({"deviation": [float(width)], "name": [f"N − 1 = {width} tokens"]}))
        .mark_text(align="right", baseline="bottom", dx=-6, dy=-3, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
        .encode(x=alt.XValue(alt.expr("width")), y=y, text=alt.Text("name:N"))
    )
    figure: alt.LayerChart = theme.titled(alt.layer(area, line, name), height=height)
    return figure


def regret(frame: pl.DataFrame, *, log_x: bool, height: int = 270) -> theme.Figure:
    """Cumulative regret, one line per rule. frame: columns rule, step (from 1), regret."""
    if frame.is_empty():
        return theme.no_data("no rule was run", height=height)
    rules = frame["rule"].unique(maintain_order=True).to_list()
    inks = dict(zip(rules, SERIES_INKS, strict=False))
    dashes = dict(zip(rules, RULE_DASHES, strict=False))
    colour = alt.Color(
        "rule:N",
        legend=None,
        scale=alt.Scale(domain=rules, range=[inks[r][0].expr for r in rules]),
    )
    dash = alt.StrokeDash(
        "rule:N", legend=None, scale=alt.Scale(domain=rules, range=[list(dashes[r]) for r in rules])
    )
    line = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2)
        .encode(
            x=_x("step (log)" if log_x else "step", log=log_x),
            y=alt.Y("regret:Q", title="regret so far (score per token)", axis=alt.Axis(tickCount=5)),
            color=colour,
            strokeDash=dash,
            tooltip=[alt.Tooltip("rule:N"), alt.Tooltip("step:Q"), alt.Tooltip("regret:Q", format=".4f")],
        )
    )
    last = dict(
        frame.sort("step").group_by("rule", maintain_order=True).last().select("rule", "regret").rows()
    )
    ends = [EndLabel(rule, last[rule], inks[rule][1]) for rule in rules]
    top = max(last.values())
    text = end_labels(ends, field="regret", low=0.0, high=top, height=height)
    figure: alt.LayerChart = theme.titled(alt.layer(line, *text), height=height)
    return figure


def ties(frame: pl.DataFrame, *, height: int = 270) -> theme.Figure:
    """How densely two experts tie for the last place. frame: columns one, other, density."""
    settings: dict[str, Any] = {"labelAngle": 0, "labelOverlap": "greedy", "ticks": False}
    cold, hot = theme.Ink("#F3F6F9", "#191E27"), theme.Ink("#0B62A4", "#6FBDF0")
    cells = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("one:O", title="expert", axis=alt.Axis(**settings)),
            y=alt.Y("other:O", title="expert", axis=alt.Axis(**settings)),
            color=alt.Color(
                "density:Q",
                title="tie density",
                scale=alt.Scale(range=[cold.expr, hot.expr], interpolate="rgb"),
                legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=180, tickCount=3),
            ),
            tooltip=[alt.Tooltip("one:O"), alt.Tooltip("other:O"), alt.Tooltip("density:Q", format=".3f")],
        )
    )
    figure: alt.LayerChart = theme.titled(alt.layer(cells), height=height)
    return figure
