"""Figures that only the gallery needs: one step of the rule in numbers, and MaxVio by batch size."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from explorer.charts import series, theme
from explorer.charts.labels import IS_NARROW, EndLabel, break_label, end_labels
from explorer.charts.scales import clipped_power, load_scale

ROW_PX = 19


def one_step(frame: pl.DataFrame) -> theme.Figure:
    """Loads of one step, each beside the bias update that follows.

    frame: expert, load_ratio, mean_score, expert_bias (used in the step), next_bias (after its update).
    """
    if frame.is_empty():
        return theme.no_data("no step with a bias is recorded")
    data = frame.sort("expert").with_columns(
        pl.col("expert").cast(pl.Int32),
        value=clipped_power(pl.col("load_ratio")),
        words=_words(),
        short=pl.format("{} → {}", _signed("expert_bias"), _signed("next_bias")),
    )
    tall = ROW_PX * data.height
    y = alt.Y(
        "expert:O",
        title=theme.AXIS["expert"],
        axis=alt.Axis(ticks=False, domain=False),
        scale=alt.Scale(paddingInner=0.2),
    )
    bars = (
        alt.Chart(data)
        .mark_bar(cornerRadiusEnd=1)
        .encode(
            x=alt.X("load_ratio:Q", title=theme.AXIS["load_ratio"], axis=alt.Axis(tickCount=5)),
            y=y,
            color=alt.Color("value:Q", scale=load_scale(bars=True), legend=None),
            tooltip=[
                alt.Tooltip("expert:O"),
                alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
                alt.Tooltip("mean_score:Q", title="mean score", format=".4f"),
                alt.Tooltip("expert_bias:Q", title="bias used", format="+.4f"),
                alt.Tooltip("next_bias:Q", title="bias after", format="+.4f"),
            ],
        )
    )
    line = alt.Chart(pl.DataFrame({"load_ratio": [1.0]})).encode(x=alt.X("load_ratio:Q"))
    rule = line.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.2)
    text = (
        alt.Chart(data)
        .mark_text(
            align="left", baseline="middle", dx=10, clip=False, fontSize=11, color=theme.STRONG_TEXT.expr
        )
        .encode(
            x=alt.XValue(alt.expr("width")),
            y=y,
            # On a phone the bias alone: the rest would leave the bars a third of the width.
            text=alt.TextValue(alt.expr(f"{IS_NARROW} ? datum.short : datum.words")),
        )
    )
    figure: alt.LayerChart = theme.titled(alt.layer(bars, rule, text), height=tall)
    return figure


def _words() -> pl.Expr:
    moved = pl.col("next_bias") - pl.col("expert_bias")
    arrow = (
        pl.when(moved > 0).then(pl.lit("up")).when(moved < 0).then(pl.lit("down")).otherwise(pl.lit("stays"))
    )
    signed = [_signed(name) for name in ("expert_bias", "next_bias")]
    return pl.format("score {} · bias {} → {} ({})", _digits("mean_score"), *signed, arrow)


def _signed(name: str) -> pl.Expr:
    sign = pl.when(pl.col(name) < 0).then(pl.lit("−")).otherwise(pl.lit("+"))
    return pl.concat_str(sign, _digits(name))


def _digits(name: str) -> pl.Expr:
    """Always three digits: 0.02 and 0.018 would not stand under each other."""
    thousandths = (pl.col(name).abs() * 1000).round(0).cast(pl.Int64).cast(pl.String).str.zfill(4)
    return pl.concat_str(thousandths.str.head(-3), pl.lit("."), thousandths.str.tail(3))


def batch_sizes(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str],
    families: Mapping[str, str],
    scopes: Mapping[str, str] | None = None,
    height: int = 320,
) -> theme.Figure:
    """MaxVio of groups of neighbouring sequences by their size, both axes logarithmic.

    frame: run_id, sequences, tokens (of a group), max_vio (mean over groups and layers), uniform (the same
    of random routing).
    """
    if frame.is_empty():
        return theme.no_data("no loads of single sequences are recorded")
    styles = theme.run_styles(frame["run_id"].to_list(), labels, families, scopes)
    names = {style.run_id: style.label for style in styles}
    data = frame.filter(pl.col("max_vio") > 0).with_columns(run=pl.col("run_id").replace_strict(names))
    sizes = frame["tokens"].unique().sort().to_list()
    x = alt.X(
        "tokens:Q",
        title="tokens in a computation batch",
        scale=alt.Scale(type="log", base=2, nice=False),
        axis=alt.Axis(grid=False, values=sizes, format="~s" if max(sizes) >= 10_000 else "~f"),
    )
    y = series.y_axis("MaxVio of a computation batch", True, zero=False, field="max_vio")
    colour = alt.Color("run:N", scale=theme.colour_scale(styles), legend=series.run_legend(styles))
    dash = alt.StrokeDash("run:N", scale=theme.dash_scale(styles), legend=None)
    base = alt.Chart(data).encode(x=x, y=y, color=colour)
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("sequences:Q", title="sequences"),
        alt.Tooltip("tokens:Q", format=",d"),
        alt.Tooltip("max_vio:Q", title="MaxVio", format=".3f"),
    ]
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(tooltip=tooltip)
    chance = frame.drop_nulls("uniform").unique("tokens").sort("tokens")
    random = alt.Chart(chance).mark_line(color=theme.REFERENCE.expr, strokeWidth=1.4, strokeDash=[2, 2])
    largest = data.filter(pl.col("tokens") == pl.col("tokens").max())
    ends = [
        EndLabel(break_label(style.label), value, style.text)
        for style in styles
        for value in largest.filter(pl.col("run_id") == style.run_id)["max_vio"].to_list()
    ]
    if chance.height:
        ends.append(EndLabel("random routing", chance["uniform"][-1], theme.NEUTRAL_TEXT, strong=False))
    values = [*data["max_vio"], *chance["uniform"]]
    texts = end_labels(ends, field="max_vio", low=min(values), high=max(values), height=height, log_y=True)
    chart = alt.layer(random.encode(x=x, y=alt.Y("uniform:Q")), lines, points, *texts)
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure
