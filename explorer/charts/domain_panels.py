"""Expert load by domain as in DeepSeek-V3's Figure 9: one panel per method, one linear scale for all."""

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.domains import DOMAIN_LABEL

ROW_PX = 27
SEQUENTIAL = (
    theme.Ink("#F1F4F8", "#171C25"),
    theme.Ink("#CFE2F1", "#1B3550"),
    theme.Ink("#97C6E2", "#1F5480"),
    theme.Ink("#55A4CE", "#2F7DB3"),
    theme.Ink("#2878B2", "#5DA9DA"),
    theme.Ink("#144C86", "#9FD0F0"),
    theme.Ink("#09264F", "#E3F3FF"),
)
"""From no load to the highest; reversed on a dark page, so that no load is inconspicuous on both."""


def highest(frames: list[pl.DataFrame]) -> float:
    """The upper end of the scale for these frames: their highest load, at least 1."""
    tops = [frame["load_ratio"].fill_nan(None).max() for frame in frames if not frame.is_empty()]
    return max([1.0, *(float(top) for top in tops if isinstance(top, int | float))])


def domain_panel(frame: pl.DataFrame, *, top: float, title: str = "") -> theme.Figure:
    """Domains down, experts across, load over balanced load as colour from 0 to `top`.

    frame: columns of `queries.domain_expert`. Panels with the same `top` can be compared by colour, but
    not column by column: expert numbers do not correspond across runs.
    """
    if frame.is_empty():
        return theme.no_data("no loads by domain recorded", title=title)
    data = frame.select(
        "domain",
        pl.col("expert").cast(pl.Int32),
        pl.col("tokens").cast(pl.Int64),
        load_ratio=pl.col("load_ratio").fill_nan(None).fill_null(0.0).round(4),
    ).with_columns(of_top=pl.col("load_ratio") / top)
    experts = sorted(data["expert"].unique().to_list())
    every = max(1, -(-len(experts) // 16))
    last = len(SEQUENTIAL) - 1
    # The upper end is in the rows: panels of another layer exchange them and stay.
    scale = alt.Scale(
        domain=[i / last for i in range(last + 1)],
        range=[ink.expr for ink in SEQUENTIAL],
        interpolate="rgb",
        clamp=True,
    )
    axis = alt.Axis(values=experts[::every], labelAngle=0, ticks=False, domain=False, labelOverlap="greedy")
    cells = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("expert:O", title=theme.AXIS["expert"], axis=axis, scale=alt.Scale(padding=0)),
            y=alt.Y(
                "domain:N",
                title=None,
                axis=alt.Axis(ticks=False, domain=False, labelLimit=140, labelExpr=DOMAIN_LABEL),
                scale=alt.Scale(paddingInner=0.05, paddingOuter=0),
            ),
            color=alt.Color("of_top:Q", scale=scale, legend=None),
            tooltip=[
                alt.Tooltip("domain:N"),
                alt.Tooltip("expert:O"),
                alt.Tooltip("load_ratio:Q", title="load / balanced load", format=".2f"),
                alt.Tooltip("tokens:Q", format=",d"),
            ],
        )
    )
    tall = ROW_PX * data["domain"].n_unique()
    figure: alt.LayerChart = theme.titled(alt.layer(cells), title=title, height=tall)
    return figure
