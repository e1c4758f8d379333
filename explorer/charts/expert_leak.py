"""Chart of the leak of expert choice over the size of its chunks."""

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.agreement import FIRST, SECOND

EARLIER, OTHER = "an earlier token of its sequence", "a token of another sequence"


def by_chunk(frame: pl.DataFrame, *, sequence_tokens: int, height: int = 260) -> theme.Figure:
    """Share of the changed tokens that change another one's experts, over the chunk size; one line per reach.

    frame: chunk, reach (EARLIER or OTHER), share, trials, changed. A vertical line marks one sequence.
    """
    sizes = sorted(frame["chunk"].unique().to_list())
    base = alt.Chart(frame).encode(
        x=alt.X(
            "chunk:Q",
            title="tokens that an expert chooses from (logarithmic)",
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(values=sizes, format="d", grid=False),
        ),
        y=alt.Y(
            "share:Q",
            title="share of the changed tokens",
            scale=alt.Scale(domainMin=0),
            axis=alt.Axis(format=".0%", tickCount=5),
        ),
        color=alt.Color(
            "reach:N",
            scale=alt.Scale(domain=[EARLIER, OTHER], range=[FIRST.expr, SECOND.expr]),
            legend=alt.Legend(
                title="changing one token moves", orient="top", columns=1, labelLimit=300, symbolSize=60
            ),
        ),
        tooltip=[
            alt.Tooltip("chunk:Q", title="chunk", format=",d"),
            alt.Tooltip("reach:N", title="moves"),
            alt.Tooltip("changed:Q", title="changed tokens that do", format=",d"),
            alt.Tooltip("trials:Q", title="of", format=",d"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    lines = base.mark_line(strokeWidth=2.2, point=True)
    at = alt.Chart(pl.DataFrame({"chunk": [sequence_tokens], "name": ["one sequence"]}))
    at = at.encode(x=alt.X("chunk:Q"))
    rule = at.mark_rule(color=theme.REFERENCE.expr, strokeDash=[5, 3])
    text = at.mark_text(
        align="left", baseline="top", dx=5, dy=2, fontSize=11, color=theme.STRONG_TEXT.expr
    ).encode(y=alt.YValue(0), text=alt.Text("name:N"))
    figure: alt.LayerChart = theme.titled(alt.layer(rule, lines, text), height=height)
    return figure
