"""Charts of the runs behind a claim: every run in the plane of loss and imbalance, and over training."""

from collections.abc import Collection

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.inks import Ink, dash_of
from explorer.charts.plane_rows import SCOPE_SHAPES
from explorer.charts.strength_marks import mark_of

LIGHTER = (0.0, 0.25, 0.12)
"""How far arms of one method are mixed into the page's background; the first keeps the colour of the method.
Mark and dash distinguish the arms; lightness only helps."""
POINT_SYMBOL, LINE_SYMBOL = 110, 600
"""Areas of legend symbols in square pixels; that of a line is long enough to show its dash."""
MOST_ARMS = 8
"""With more arms, those that a claim does not name share one grey and one entry of the legend."""
OTHERS = "other arms"


def is_folded(frame: pl.DataFrame) -> bool:
    """Whether there are too many arms for a legend of all."""
    return frame["arm"].n_unique() > MOST_ARMS


def folded(frame: pl.DataFrame, named: Collection[str]) -> pl.DataFrame:
    """The frame with `arm` as the legend names it, and each arm's own name in `name`."""
    frame = frame.with_columns(name=pl.col("arm"))
    if not is_folded(frame):
        return frame
    is_other = ~pl.col("arm").is_in(list(named))
    frame = frame.with_columns(arm=pl.when(is_other).then(pl.lit(OTHERS)).otherwise("arm"))
    # Grey marks lie below the others, and their entry comes last.
    is_last = pl.col("arm") == OTHERS
    return frame.sort(is_last, descending=True, maintain_order=True)


def _arms(frame: pl.DataFrame) -> pl.DataFrame:
    """Arm, family and scope of each entry of the legend."""
    arms = frame.select("arm", "family", "scope").unique("arm", maintain_order=True)
    return arms.sort(pl.col("arm") == OTHERS, maintain_order=True)


def _nth(frame: pl.DataFrame) -> pl.DataFrame:
    """The arms of `_arms`, each with its index `nth` among those of its method and count scope."""
    return _arms(frame).with_columns(nth=pl.int_range(pl.len()).over("family", "scope"))


def _arm_scale(frame: pl.DataFrame) -> alt.Scale:
    """The colour of each arm's method and count scope; further arms of one method are a little paler."""
    arms = _nth(frame)
    inks = [
        theme.REFERENCE_BAND.expr if arm == OTHERS else _ink(family, scope, nth).expr
        for arm, family, scope, nth in arms.iter_rows()
    ]
    return alt.Scale(domain=arms["arm"].to_list(), range=inks)


def _ink(family: str, scope: str, nth: int) -> Ink:
    ink, share = theme.family_ink(family, scope), LIGHTER[nth % len(LIGHTER)]
    return Ink(theme.mix(ink.light, "#FFFFFF", share), theme.mix(ink.dark, "#0F1218", share))


def _arm_dashes(frame: pl.DataFrame) -> alt.Scale:
    """The dash of each arm: that of its count scope, and another one for further arms of one method."""
    arms = _nth(frame)
    dashes = [
        [1, 0] if arm == OTHERS else list(dash_of(scope, nth)) for arm, _, scope, nth in arms.iter_rows()
    ]
    return alt.Scale(domain=arms["arm"].to_list(), range=dashes)


def _arm_shapes(frame: pl.DataFrame) -> alt.Scale:
    """The mark of each arm: the outline of its count scope, with another inside for further arms."""
    arms = _nth(frame)
    other = SCOPE_SHAPES["other"]
    shapes = [
        other if arm == OTHERS else mark_of(SCOPE_SHAPES.get(scope, other), nth)
        for arm, _, scope, nth in arms.iter_rows()
    ]
    return alt.Scale(domain=arms["arm"].to_list(), range=shapes)


def _arm_legend(symbol_size: int) -> alt.Legend:
    """The arms in two columns, on a phone in one. symbol_size: `POINT_SYMBOL` or `LINE_SYMBOL`."""
    return alt.Legend(
        orient="top",
        title=None,
        columns=theme.columns_that_fit(2, 300),
        labelLimit=260,
        symbolOpacity=1,
        symbolStrokeWidth=2.4 if symbol_size == LINE_SYMBOL else 0,
        symbolSize=symbol_size,
    )


def plane(frame: pl.DataFrame, named: Collection[str] = ()) -> theme.Figure:
    """Every run as a point, its held-out loss against its imbalance. frame: arm, family, scope, seed,
    max_vio, lm_loss; named: arms that keep their colour where there are many."""
    frame = folded(frame, named)
    chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=90, opacity=0.85)
        .encode(
            x=alt.X("max_vio:Q", title=theme.AXIS["max_vio_global"], scale=alt.Scale(zero=True)),
            y=alt.Y(
                "lm_loss:Q",
                title="held-out loss (nats per token)",
                scale=alt.Scale(zero=False, padding=8),
            ),
            color=alt.Color("arm:N", scale=_arm_scale(frame), legend=_arm_legend(POINT_SYMBOL)),
            shape=alt.Shape("arm:N", scale=_arm_shapes(frame), legend=_arm_legend(POINT_SYMBOL)),
            tooltip=[
                alt.Tooltip("name:N", title="arm"),
                alt.Tooltip("seed:Q"),
                alt.Tooltip("lm_loss:Q", format=".4f"),
                alt.Tooltip("max_vio:Q", format=".3f"),
            ],
        )
    )
    figure: alt.Chart = theme.titled(chart, height=300)
    return figure


def course(frame: pl.DataFrame, named: Collection[str] = ()) -> theme.Figure:
    """MaxVio batch over training: every run thin, arm means thick. frame: arm, family, scope,
    run, share, max_vio; named: arms that keep their colour where there are many."""
    frame = folded(frame, named)
    colour = alt.Color("arm:N", scale=_arm_scale(frame), legend=_arm_legend(LINE_SYMBOL))
    base = alt.Chart(frame).encode(
        x=alt.X("share:Q", title="share of the training steps (%)"),
        y=alt.Y("max_vio:Q", title=theme.AXIS["max_vio"]),
        color=colour,
    )
    thin = base.mark_line(strokeWidth=0.8, opacity=0.3).encode(detail=alt.Detail("run:N"))
    keys = ("arm", "name", "share")
    mean = alt.Chart(frame.group_by(*keys, maintain_order=True).agg(pl.col("max_vio").mean()))
    dash = alt.StrokeDash("arm:N", scale=_arm_dashes(frame), legend=_arm_legend(LINE_SYMBOL))
    weight = alt.condition(alt.datum.arm == OTHERS, alt.value(1.2), alt.value(2.4))
    thick = mean.mark_line().encode(
        strokeWidth=weight,
        x=alt.X("share:Q"),
        y=alt.Y("max_vio:Q"),
        color=colour,
        strokeDash=dash,
        detail=alt.Detail("name:N"),
    )
    figure: alt.LayerChart = theme.titled(alt.layer(thin, thick), height=280)
    return figure


def by_length(frame: pl.DataFrame) -> theme.Figure:
    """Excess imbalance over the context's length: every seed thin, arm means thick. frame: arm, family,
    scope, run, factor, excess."""
    colour = alt.Color("arm:N", scale=_arm_scale(frame), legend=_arm_legend(LINE_SYMBOL))
    axis = alt.Axis(labelExpr="datum.label + '×'", labelAngle=0)
    x = alt.X("factor:O", title="context over the training length", axis=axis)
    base = alt.Chart(frame).encode(x=x, y=alt.Y("excess:Q", title="excess MaxVio"), color=colour)
    thin = base.mark_line(strokeWidth=0.8, opacity=0.3).encode(detail=alt.Detail("run:N"))
    mean = alt.Chart(frame.group_by("arm", "factor", maintain_order=True).agg(pl.col("excess").mean()))
    dash = alt.StrokeDash("arm:N", scale=_arm_dashes(frame), legend=_arm_legend(LINE_SYMBOL))
    thick = mean.mark_line(strokeWidth=2.4, point=True).encode(
        x=x, y=alt.Y("excess:Q"), color=colour, strokeDash=dash
    )
    figure: alt.LayerChart = theme.titled(alt.layer(thin, thick), height=280)
    return figure


def answers(frame: pl.DataFrame, chance: float) -> theme.Figure:
    """Exact match of every model under every rule, means as bars, chance as a dashed line.

    frame: rule, seed, exact_match, f1; rules in the order of the chart.
    """
    rules = frame["rule"].unique(maintain_order=True).to_list()
    # Twice chance has room; points at 0 stay clear of the names.
    reach = max(2 * chance, float(frame["exact_match"].max()))  # type: ignore[arg-type]
    scale = alt.Scale(domain=[0, reach], nice=False)
    x = alt.X("exact_match:Q", title="exact match (share of questions)", scale=scale)
    axis = alt.Axis(ticks=False, domain=False, labelLimit=150, labelPadding=12)
    y = alt.Y("rule:N", sort=rules, title=None, axis=axis)
    tips = [
        alt.Tooltip("rule:N"),
        alt.Tooltip("seed:Q"),
        alt.Tooltip("exact_match:Q", format=".3f"),
        alt.Tooltip("f1:Q", title="F1", format=".3f"),
    ]
    means = alt.Chart(frame.group_by("rule", maintain_order=True).agg(pl.col("exact_match").mean()))
    bars = means.mark_tick(thickness=3, size=18, color=theme.STRONG_TEXT.expr).encode(x=x, y=y)
    points = (
        alt.Chart(frame)
        .mark_circle(size=46, opacity=0.6, color=theme.REFERENCE.expr)
        .encode(x=x, y=y, tooltip=tips)
    )
    line = (
        alt.Chart(pl.DataFrame({"chance": [chance]}))
        .mark_rule(strokeDash=[4, 4], color=theme.NEUTRAL_TEXT.expr)
        .encode(x=alt.X("chance:Q"))
    )
    figure: alt.LayerChart = theme.titled(alt.layer(line, points, bars), height=28 * len(rules))
    return figure
