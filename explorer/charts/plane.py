"""The dilemma plane: held-out perplexity against imbalance, one point a run.

The same picture as Figure 2 of Loss-Free Balancing (arXiv 2408.15664): lower left is better in both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.placing import Box, place_words
from explorer.charts.scales import log_ticks
from explorer.config.rule_text import AuxLoss, Rule, format_rules, parse_rules
from explorer.errors import ConfigError
from explorer.metrics import t_interval

ZERO_AT = 0.6
"""Where a MaxVio of 0 is drawn on a log axis, as a share of the smallest other one."""
PADDING_PX = 34
NARROW_PX = 500
"""A narrow page's plot: words that keep apart there keep apart on a wider one."""
_LEGEND_COLUMNS = alt.ExprRef("width < 620 ? 2 : 3")
SCOPE_SHAPES = {
    "sequence": "triangle-up",
    "micro_batch": "square",
    "global_batch": "circle",
    "global_buffered": "triangle-down",
    "none": "diamond",
    "unknown": "triangle-left",
    "other": "cross",
}
SCOPE_LABELS = {
    "sequence": "sequence",
    "micro_batch": "micro-batch",
    "global_batch": "global batch",
    "global_buffered": "global batch so far",
    "none": "nothing",
    "unknown": "not stated",
    "other": "several",
}


def _only_rule(balancer: str) -> Rule | None:
    """The balancing rule of a text form that has exactly one."""
    try:
        rules = [rule for rule in parse_rules(balancer) if rule.family]
    except ConfigError:
        return None
    return rules[0] if len(rules) == 1 and rules[0].strength else None


def coefficient(balancer: str) -> tuple[str, float] | None:
    """("α", 0.01) of an auxiliary loss, ("u", 0.001) of a bias rule; None for anything else."""
    rule = _only_rule(balancer)
    if rule is None or rule.strength is None:
        return None
    symbol, field = rule.strength
    return symbol, float(getattr(rule, field))


def sweep_of(balancer: str) -> str | None:
    """The rule without its coefficient: runs that share it are steps of one sweep."""
    rule = _only_rule(balancer)
    if rule is None or rule.strength is None:
        return None
    settings: dict[str, Any] = {rule.strength[1]: 0.0}
    return format_rules([replace(rule, **settings)])


def _coefficient_text(balancer: str) -> str | None:
    found, rule = coefficient(balancer), _only_rule(balancer)
    if found is None:
        return None
    raw = ", raw scores" if isinstance(rule, AuxLoss) and rule.score_norm == "raw" else ""
    return f"{found[0]} = {found[1]:g}{raw}"


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
    runs = _runs(summary, log_x)
    if runs.is_empty():
        return theme.no_data("no finished runs with a held-out evaluation", title=title)
    groups = _groups(runs)
    families = [f for f in theme.FAMILIES if f in set(runs["family"])]
    scopes = [s for s in SCOPE_SHAPES if s in set(runs["scope_key"])]
    colour = alt.Color(
        "family:N",
        title="method",
        scale=alt.Scale(domain=families, range=[theme.FAMILIES[f].expr for f in families]),
        legend=alt.Legend(
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
    shape = alt.Shape(
        "scope_key:N",
        title="loads counted over",
        scale=alt.Scale(domain=scopes, range=[SCOPE_SHAPES[s] for s in scopes]),
        legend=alt.Legend(
            orient="bottom",
            direction="horizontal",
            columns=_LEGEND_COLUMNS,
            labelExpr=_relabel(SCOPE_LABELS),
            symbolFillColor=theme.FAINT_LINE.expr,
            symbolOpacity=1,
            symbolStrokeWidth=0,
            symbolSize=110,
        ),
    )
    x = alt.X(
        "x:Q",
        title=theme.AXIS["max_vio_global"],
        scale=alt.Scale(type="log" if log_x else "linear", zero=False, nice=False, padding=PADDING_PX),
        axis=_log_axis(runs["x"]) if log_x else alt.Axis(tickCount=6, format="~g"),
    )
    y = alt.Y(
        "y:Q",
        title="held-out perplexity",
        scale=alt.Scale(type="log", zero=False, nice=False, padding=PADDING_PX),
        axis=_log_axis(runs["y"]),
    )
    tooltip = [
        alt.Tooltip("label:N", title="balancer"),
        alt.Tooltip("run_id:N", title="run"),
        alt.Tooltip("seed:Q", title="seed"),
        alt.Tooltip("y:Q", title="perplexity", format=".3f"),
        alt.Tooltip("max_vio:Q", title="MaxVio, held-out set", format=".3f"),
    ]
    several = groups.filter(pl.col("seeds") > 1)
    single = runs.filter(pl.col("seeds") == 1)
    seeds = alt.Chart(runs.filter(pl.col("seeds") > 1)).mark_point(filled=True, size=34, opacity=0.6)
    seeds = seeds.encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
    ring = alt.ExprRef("background")
    points = alt.Chart(single).mark_point(filled=True, size=150, opacity=1, stroke=ring, strokeWidth=1)
    points = points.encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
    mean_tips = [
        alt.Tooltip("label:N", title="balancer"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("y:Q", title="mean perplexity", format=".3f"),
        alt.Tooltip("y_half:Q", title="± (95 %)", format=".3f"),
        alt.Tooltip("max_vio:Q", title="mean MaxVio", format=".3f"),
        alt.Tooltip("x_half:Q", title="± (95 %)", format=".3f"),
    ]
    means = alt.Chart(several).mark_point(filled=True, size=230, opacity=1, stroke=ring, strokeWidth=1.2)
    means = means.encode(x=x, y=y, color=colour, shape=shape, tooltip=mean_tips)
    cross = alt.Chart(several).encode(color=colour)
    across = cross.mark_rule(strokeWidth=1.6).encode(x=alt.X("x_low:Q"), x2=alt.X2("x_high:Q"), y=y)
    along = cross.mark_rule(strokeWidth=1.6).encode(x=x, y=alt.Y("y_low:Q"), y2=alt.Y2("y_high:Q"))
    chart = alt.layer(
        *_reference(reference),
        *_sweeps(groups, x, y, colour),
        across,
        along,
        seeds,
        points,
        means,
        *_coefficients(groups, runs, x, y, colour, log_x=log_x, height=height),
        *_zeros(groups, x, y, colour),
    )
    figure: alt.LayerChart = theme.titled(chart, title=title, height=height)
    return figure


def _log_axis(values: pl.Series) -> alt.Axis:
    """1-2-5 on a wide range; a narrow one, which those ticks would miss, gets even ones."""
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    return (
        alt.Axis(values=log_ticks(), format=",~r") if high > 4 * low else alt.Axis(tickCount=6, format=".4~g")
    )


def _relabel(names: dict[str, str]) -> str:
    return "".join(f"datum.label == '{key}' ? '{text}' : " for key, text in names.items()) + "datum.label"


def _runs(summary: pl.DataFrame, log_x: bool) -> pl.DataFrame:
    """One row a run that has both figures."""
    if summary.is_empty():
        return summary
    usable = pl.all_horizontal(pl.col("perplexity", "max_vio_global").cast(pl.Float64).is_finite())
    runs = summary.filter(usable)
    violation = pl.col("max_vio_global").cast(pl.Float64)
    place = violation
    if log_x:
        # A log axis has no place for 0, which expert choice has by construction: the left edge stands for it.
        least = runs.filter(violation > 0).select(violation.min()).item() if runs.height else None
        if least is None:
            return runs.clear()
        place = pl.when(violation > 0).then(violation).otherwise(least * ZERO_AT)
    coefficients = [coefficient(str(b)) for b in runs["balancer"].to_list()]
    scope = pl.col("count_scope").fill_null("unknown")
    return runs.select(
        "run_id",
        "seed",
        label=pl.col("balancer_label"),
        family=pl.when(pl.col("balancer_family").is_in(list(theme.FAMILIES)))
        .then(pl.col("balancer_family"))
        .otherwise(pl.lit("unknown")),
        scope=scope,
        scope_key=pl.when(scope.is_in(list(SCOPE_SHAPES))).then(scope).otherwise(pl.lit("other")),
        pair_key=pl.col("pair_key").fill_null(""),
        x=place,
        max_vio=violation,
        y=pl.col("perplexity").cast(pl.Float64),
        coefficient=pl.Series([c[1] if c else None for c in coefficients], dtype=pl.Float64),
        coefficient_text=_texts(runs, _coefficient_text),
        sweep=_texts(runs, sweep_of),
    ).with_columns(seeds=pl.len().over("label", "pair_key"))


def _texts(runs: pl.DataFrame, describe: Callable[[str], str | None]) -> pl.Series:
    return pl.Series([describe(str(b)) for b in runs["balancer"].to_list()], dtype=pl.String)


def _groups(runs: pl.DataFrame) -> pl.DataFrame:
    """One row a balancer and configuration: means over seeds and 95 % t intervals."""
    rows: list[dict[str, Any]] = []
    for (label, pair_key), part in runs.group_by("label", "pair_key", maintain_order=True):
        first = part.row(0, named=True)
        row: dict[str, Any] = {
            "label": label,
            "pair_key": pair_key,
            **{
                k: first[k]
                for k in ("family", "scope", "scope_key", "coefficient", "coefficient_text", "sweep")
            },
            "seeds": part.height,
            "max_vio": part["max_vio"].mean(),
        }
        for axis in ("x", "y"):
            interval = t_interval(part[axis].to_list())
            mean, half = interval if interval else (float(part[axis][0]), None)
            row |= {axis: mean, f"{axis}_half": half}
            row |= {f"{axis}_low": mean - (half or 0.0), f"{axis}_high": mean + (half or 0.0)}
        # An interval that reaches zero has no place on a log axis; it is cut at a tenth of the mean.
        row["x_low"] = max(row["x_low"], row["x"] / 10)
        rows.append(row)
    numbers = ("coefficient", "max_vio", "x", "x_half", "x_low", "x_high", "y", "y_half", "y_low", "y_high")
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def _in_sweep(groups: pl.DataFrame) -> pl.DataFrame:
    """Groups whose rule and configuration appear with more than one coefficient."""
    known = groups.filter(pl.col("coefficient").is_not_null())
    return known.filter(pl.col("coefficient").n_unique().over("sweep", "pair_key") > 1)


def _sweeps(groups: pl.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    line = alt.Chart(_in_sweep(groups).sort("coefficient")).mark_line(strokeWidth=1.4, opacity=0.6)
    line = line.encode(x=x, y=y, color=colour, order=alt.Order("coefficient:Q"))
    return [line.encode(detail=[alt.Detail("sweep:N"), alt.Detail("pair_key:N")])]


def _coefficients(
    groups: pl.DataFrame,
    runs: pl.DataFrame,
    x: alt.X,
    y: alt.Y,
    colour: alt.Color,
    *,
    log_x: bool,
    height: int,
) -> list[alt.Chart]:
    """The coefficient at every point, where it covers the least of what else is there."""
    known = groups.filter(pl.col("coefficient").is_not_null())
    if known.is_empty():
        return []
    across = _pixels([*groups["x"], *runs["x"]], NARROW_PX, log=log_x)
    down = _pixels([*groups["y"], *runs["y"]], height, log=True)

    def at(row: dict[str, Any]) -> tuple[float, float]:
        return across(row["x"]), height - down(row["y"])

    marks = [Box.around(*at(row), 16, 16) for row in groups.to_dicts()]
    marks += [Box.around(*at(row), 6, 6) for row in runs.filter(pl.col("seeds") > 1).to_dicts()]
    for row in groups.filter(pl.col("seeds") > 1).to_dicts():
        middle, left, right = height - down(row["y"]), across(row["x_low"]), across(row["x_high"])
        marks.append(Box(left, middle - 2, right, middle + 2))
    parts = _in_sweep(groups).sort("coefficient").partition_by("sweep", "pair_key")
    sweeps = [[at(row) for row in part.to_dicts()] for part in parts]
    lines = [pair for sweep in sweeps for pair in pairwise(sweep)]
    words = [(str(row["coefficient_text"]), *at(row)) for row in known.to_dicts()]
    places = place_words(words, marks, lines, Box(0, 0, NARROW_PX, height))
    data = known.with_columns(
        dx=pl.Series([dx for dx, _ in places], dtype=pl.Float64).round(1),
        dy=pl.Series([dy for _, dy in places], dtype=pl.Float64).round(1),
    )
    text = alt.Chart(data).encode(x=x, y=y, text=alt.Text("coefficient_text:N"))
    look: dict[str, Any] = {"fontSize": 11, "align": "center", "baseline": "middle"}
    look |= {"dx": alt.ExprRef("datum.dx"), "dy": alt.ExprRef("datum.dy")}
    # The page's colour around the letters keeps them readable where lines cross.
    halo = text.mark_text(stroke=alt.ExprRef("background"), strokeWidth=3, strokeJoin="round", **look)
    return [halo, text.mark_text(**look).encode(color=colour)]


def _pixels(values: Sequence[float], size: float, *, log: bool) -> Callable[[float], float]:
    """About where the axis will draw a value: from the left or the bottom, with the scale's padding."""
    forward = math.log10 if log else float
    known = [forward(v) for v in values if v is not None and (v > 0 or not log)]
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    least = 10.0**low if log else low
    return lambda v: PADDING_PX + (size - 2 * PADDING_PX) * (forward(max(v, least)) - low) / span


def _zeros(groups: pl.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """The words at points that stand at the edge of a log axis in place of 0; no layer without any."""
    shown = groups.filter((pl.col("max_vio") == 0) & (pl.col("x") > 0))
    if shown.is_empty():
        return []
    text = alt.Chart(shown).mark_text(
        text="MaxVio 0", align="left", baseline="bottom", dx=9, dy=-8, fontSize=11
    )
    return [text.encode(x=x, y=y, color=colour)]


def _reference(value: float | None) -> list[alt.Chart]:
    values = [] if value is None or value <= 0 else [value]
    data = pl.DataFrame({"x": values}, schema={"x": pl.Float64}).with_columns(name=pl.lit("random routing"))
    base = alt.Chart(data).encode(x=alt.X("x:Q"))
    rule = base.mark_rule(color=theme.REFERENCE.expr, strokeDash=[5, 4])
    text = base.mark_text(
        align="left", baseline="top", dx=5, dy=4, fontSize=11, color=theme.NEUTRAL_TEXT.expr
    )
    return [rule, text.encode(y=alt.YValue(0), text=alt.Text("name:N"))]
