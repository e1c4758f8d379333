"""Charts of batch-aware selection: one line per policy over the batch size."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.labels import EndLabel, end_labels

HEIGHT = 260
FULL, OEA, LYNX, STATIC = "full", "oea", "lynx", "static"
INKS = {
    FULL: theme.STRONG_TEXT,
    OEA: theme.EXPERT_INKS[1],
    LYNX: theme.EXPERT_INKS[2],
    STATIC: theme.EXPERT_INKS[0],
}
"""Kind of policy -> its colour."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
"""Of the first, second … static k."""


def by_batch_size(
    frame: pl.DataFrame,
    sizes: Sequence[int],
    *,
    y_title: str,
    form: str = ".3g",
    reference: pl.DataFrame | None = None,
) -> theme.Figure:
    """frame: policy, kind, nth, batch, value. reference: batch, value of random routing, dashed."""
    x = alt.X(
        "batch:Q",
        title="tokens in the batch",
        scale=alt.Scale(type="log", base=2, domain=[min(sizes), max(sizes)], nice=False),
        axis=alt.Axis(values=list(sizes), grid=False, format="d"),
    )
    y = alt.Y("value:Q", title=y_title, axis=alt.Axis(tickCount=5))
    lines = frame.unique("policy", maintain_order=True).select("policy", "kind", "nth").rows()
    inks = {policy: INKS[kind] for policy, kind, _ in lines}
    base = alt.Chart(frame).encode(
        x=x,
        y=y,
        color=alt.Color(
            "policy:N",
            scale=alt.Scale(domain=list(inks), range=[ink.expr for ink in inks.values()]),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("policy:N"),
            alt.Tooltip("batch:Q", title="tokens in the batch"),
            alt.Tooltip("value:Q", title=y_title, format=form),
        ],
    )
    # One layer for all policies: each further one costs a page some milliseconds.
    dash = alt.StrokeDash(
        "policy:N",
        scale=alt.Scale(domain=list(inks), range=[list(DASHES[nth % len(DASHES)]) for _, _, nth in lines]),
        legend=None,
    )
    layers: list[Any] = [] if reference is None else [_reference(reference, x, y)]
    layers.append(base.mark_line(strokeWidth=2).encode(strokeDash=dash))
    layers.append(base.mark_point(filled=True, size=26, opacity=1))
    last = frame.filter(pl.col("batch") == max(sizes))
    ends = [
        EndLabel(policy, value, inks[policy]) for policy, value in last.select("policy", "value").iter_rows()
    ]
    if reference is not None:
        ends.append(
            EndLabel("random routing", float(reference["value"][-1]), theme.NEUTRAL_TEXT, strong=False)
        )
    values = [*frame["value"], *([] if reference is None else reference["value"])]
    text = end_labels(ends, field="value", low=min(0.0, *values), high=max(values), height=HEIGHT)
    chart = alt.layer(*layers, *text)
    figure: alt.LayerChart = theme.titled(chart, height=HEIGHT)
    return figure


def _reference(frame: pl.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    line: alt.Chart = (
        alt.Chart(frame)
        .mark_line(strokeDash=[3, 3], strokeWidth=1.4, color=theme.REFERENCE.expr)
        .encode(x=x, y=y)
    )
    return line
