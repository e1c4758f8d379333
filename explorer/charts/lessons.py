"""Charts that only lessons need: MaxVio of random routing over token counts, and resolution over seeds."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.labels import EndLabel, break_label, end_labels
from explorer.charts.scales import log_ticks

CHANCE = "random routing"


def noise_floor(
    frame: pl.DataFrame, *, family: str = "loss_free", scope: str = "", height: int = 320
) -> theme.Figure:
    """MaxVio against the tokens that it is counted over, measured and by chance; both axes logarithmic.

    frame: columns tokens, max_vio (measured), uniform_mean (random routing of as many tokens), words (what
    the tokens are).
    """
    if frame.is_empty():
        return theme.no_data("no loads of single sequences recorded")
    data = frame.select("tokens", "max_vio", "uniform_mean", "words")
    x = alt.X(
        "tokens:Q",
        title="tokens that are counted together",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(values=data["tokens"].to_list(), format=",d", labelOverlap="greedy", labelSeparation=6),
    )
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(values=log_ticks(), format="~g")
    ink, text = theme.family_ink(family, scope), theme.family_text(family, scope)
    base = alt.Chart(data).encode(x=x)
    tips = [
        alt.Tooltip("words:N", title="counted over"),
        alt.Tooltip("tokens:Q", format=",d"),
        alt.Tooltip("max_vio:Q", title="measured", format=".3f"),
        alt.Tooltip("uniform_mean:Q", title=CHANCE, format=".3f"),
    ]
    measured = base.encode(y=alt.Y("max_vio:Q", title="MaxVio", scale=scale, axis=axis), tooltip=tips)
    chance = base.encode(y=alt.Y("uniform_mean:Q", title="MaxVio", scale=scale, axis=axis), tooltip=tips)
    ends = data.sort("tokens").tail(1)
    named = pl.concat([data.sort("tokens").head(1), data.sort("tokens").tail(2).head(1)])
    words = alt.Chart(named).mark_text(align="left", dx=9, dy=-9, fontSize=12, color=text.expr)
    names = [
        EndLabel(f"this run,\n{ends['words'][0]}", float(ends["max_vio"][0]), text),
        EndLabel(CHANCE, float(ends["uniform_mean"][0]), theme.NEUTRAL_TEXT, strong=False),
    ]
    values = [*data["max_vio"], *data["uniform_mean"]]
    labels = end_labels(names, field="max_vio", low=min(values), high=max(values), height=height, log_y=True)
    chart = alt.layer(
        chance.mark_line(color=theme.REFERENCE.expr, strokeDash=[2, 2], strokeWidth=1.6),
        chance.mark_point(color=theme.REFERENCE.expr, filled=True, size=40, opacity=1),
        measured.mark_line(color=ink.expr, strokeWidth=2.2),
        measured.mark_point(color=ink.expr, filled=True, size=70, opacity=1),
        words.encode(
            x=x, y=alt.Y("max_vio:Q", title="MaxVio", scale=scale, axis=axis), text=alt.Text("words:N")
        ),
        *labels,
    )
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def seeds_and_resolution(
    frame: pl.DataFrame,
    *,
    target: float,
    have: int,
    scopes: Mapping[str, str] | None = None,
    height: int = 340,
) -> theme.Figure:
    """The difference that n pairs find with a chance of 80 %, against n; both axes logarithmic.

    frame: columns comparison (its words), family, pairs, detectable (nats). `target`: the difference that one
    would like to see; `have`: pairs that were trained; `scopes`: comparison -> count scope of its rule.
    """
    firsts = frame.group_by("comparison", maintain_order=True).first().select("comparison", "family").rows()
    styles = theme.run_styles([name for name, _ in firsts], families=dict(firsts), scopes=scopes)
    colour = alt.Color(
        "comparison:N",
        scale=theme.colour_scale(styles),
        legend=None,
    )
    dash = alt.StrokeDash("comparison:N", scale=theme.dash_scale(styles), legend=None)
    ticks = [n for n in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= int(frame["pairs"].max())]  # type: ignore[arg-type]
    x = alt.X(
        "pairs:Q",
        title="pairs of seeds",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=ticks, format="d"),
    )
    y = alt.Y(
        "detectable:Q",
        title="difference detectable with 80 % power (nats)",
        scale=alt.Scale(type="log", nice=False, padding=10),
        axis=alt.Axis(values=log_ticks(), format="~g"),
    )
    tips = [
        alt.Tooltip("comparison:N"),
        alt.Tooltip("pairs:Q", format="d"),
        alt.Tooltip("detectable:Q", title="nats", format=".4f"),
    ]
    lines = alt.Chart(frame).mark_line(strokeWidth=2.2)
    lines = lines.encode(x=x, y=y, color=colour, strokeDash=dash, tooltip=tips)
    here = alt.Chart(frame.filter(pl.col("pairs") == have)).mark_point(filled=True, size=90, opacity=1)
    last = frame.sort("pairs").group_by("comparison", maintain_order=True).last()
    values_of = dict(last.select("comparison", "detectable").rows())
    ends = [EndLabel(break_label(s.label), float(values_of[s.label]), s.text) for s in styles]
    values = [*frame["detectable"], target]
    labels = end_labels(
        ends, field="detectable", low=min(values), high=max(values), height=height, log_y=True
    )
    chart = alt.layer(
        *_target_line(target, y),
        lines,
        here.encode(x=x, y=y, color=colour, tooltip=tips),
        *labels,
    )
    figure: alt.LayerChart = theme.titled(chart, height=height)
    return figure


def _target_line(target: float, y: alt.Y) -> list[alt.Chart]:
    """The dashed line at the difference that one would like to see, with its value."""
    base = alt.Chart(pl.DataFrame({"detectable": [target], "words": [f"{target:.4f} nats wanted"]})).encode(
        y=y
    )
    rule = base.mark_rule(color=theme.STRONG_TEXT.expr, strokeDash=[5, 3], strokeWidth=1.3)
    words = base.mark_text(align="left", dx=6, dy=-8, fontSize=12, color=theme.STRONG_TEXT.expr)
    return [rule, words.encode(x=alt.XValue(0), text=alt.Text("words:N"))]
