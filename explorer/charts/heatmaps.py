"""Expert loads over steps as heatmaps: binned with Altair, at full resolution with Plotly."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import altair as alt
import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from explorer.charts import theme
from explorer.charts.scales import dead_colour, load_colour, plotly_scale, tick_labels, ticks

PLOTLY_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # Plotly's own HTML offers to upload the figure to its cloud; ours must not.
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
}
TALLEST = 460


class LoadMatrix(Protocol):
    """What `full_heatmap` and the player read: S steps, E experts."""

    @property
    def steps(self) -> NDArray[np.int64]: ...
    @property
    def tokens(self) -> NDArray[np.int64]: ...
    @property
    def bias(self) -> NDArray[np.float32] | None: ...


def cells(frame: pl.DataFrame, limit: float) -> pl.DataFrame:
    """One row a rectangle: x from this bin to the next, value = log2(load ratio) clipped to +-limit.

    Logs can be sparse (every 10th step), so a bin ends where the next one starts. A dead expert has
    state "no tokens" and no value.
    """
    starts = frame.select("first_step", "last_step").unique("first_step").sort("first_step")
    gap = starts["first_step"].diff().median() if starts.height > 1 else None
    width = max(1.0, float(gap)) if isinstance(gap, int | float) else 1.0
    starts = starts.select(
        "first_step",
        x2=pl.coalesce(
            pl.col("first_step").shift(-1).cast(pl.Float64),
            pl.max_horizontal(pl.col("last_step") + 1.0, pl.col("first_step") + width),
        ),
    )
    dead = pl.col("is_dead").fill_null(False) | (pl.col("load_ratio").fill_null(0.0).fill_nan(0.0) <= 0)
    return frame.join(starts, on="first_step", maintain_order="left").select(
        pl.col("first_step").cast(pl.Float64).alias("x"),
        "x2",
        pl.col("first_step").cast(pl.Int64),
        pl.col("last_step").cast(pl.Int64),
        pl.col("expert").cast(pl.Int32),
        value=pl.when(dead).then(None).otherwise(pl.col("load_ratio").log(2).clip(-limit, limit)).round(3),
        load_ratio=pl.col("load_ratio").cast(pl.Float64).round(3),
        min_ratio=pl.col("min_ratio").cast(pl.Float64).round(3),
        max_ratio=pl.col("max_ratio").cast(pl.Float64).round(3),
        tokens=pl.col("tokens").cast(pl.Int64),
        state=pl.when(dead).then(pl.lit("no tokens")).otherwise(pl.lit("some")),
    )


def load_heatmap(
    frame: pl.DataFrame,
    *,
    playhead: float | None = None,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int | None = None,
    expert_order: Sequence[int] | None = None,
) -> theme.Figure:
    """Load of every expert over steps, relative to uniform, on a log2 scale of +-`limit`.

    frame: columns of `queries.load_heatmap` (at most 200 bins x E experts). `expert_order` gives the
    rows from top to bottom; by index without it. A click sets the selection `pick` (expert, first_step).
    """
    if frame.is_empty():
        return theme.no_data("no expert loads recorded for this view", title=title)
    tall = _height(frame["expert"].n_unique(), height)
    layers = _layers(frame, limit, colour, expert_order, playhead, tall, legend=True)
    chart = alt.layer(*layers).resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=tall)
    return figure


def compare_heatmaps(
    frames: Mapping[str, pl.DataFrame],
    *,
    playhead: float | None = None,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int | None = None,
) -> theme.Figure:
    """Several runs under each other on the same colours and the same steps; one legend for all."""
    shown = {label: frame for label, frame in frames.items() if not frame.is_empty()}
    if not shown:
        return theme.no_data("no expert loads recorded for these runs", title=title)
    panels = []
    for index, (label, frame) in enumerate(shown.items()):
        last = index == len(shown) - 1
        tall = _height(frame["expert"].n_unique(), height, most=TALLEST / len(shown) + 60)
        layers = _layers(
            frame,
            limit,
            colour,
            None,
            playhead,
            tall,
            legend=last,
            suffix=f"_{index}",
            x_title=last,
            named=index == 0,
        )
        panel = alt.layer(*layers).resolve_scale(color="independent")
        panels.append(theme.titled(panel, title=label, height=tall, width=theme.CONCAT_WIDTH))
    chart = alt.vconcat(*panels, spacing=22).resolve_scale(x="shared", color="independent")
    figure: alt.VConcatChart = theme.titled(chart, title=title, width="")
    return figure


def _height(experts: int, height: int | None, most: float = TALLEST) -> int:
    return height or int(min(most, max(140, experts * 16)))


def _layers(
    frame: pl.DataFrame,
    limit: float,
    colour: str,
    order: Sequence[int] | None,
    playhead: float | None,
    tall: int,
    *,
    legend: bool,
    suffix: str = "",
    x_title: bool = True,
    named: bool = True,
) -> list[Any]:
    data = cells(frame, limit)
    rows = list(order) if order is not None else sorted(data["expert"].unique().to_list())
    every = next(k for k in (1, 2, 4, 8, 16, 32, 64, 128, 10**6) if tall * k >= 15 * len(rows))
    y_axis = alt.Axis(
        title=theme.AXIS["expert"], values=rows[::every], domain=False, ticks=False, labelOverlap=False
    )
    base = alt.Chart(data).encode(
        x=alt.X(
            "x:Q",
            title=theme.AXIS["step"] if x_title else None,
            scale=alt.Scale(zero=False, nice=False, round=True),
            axis=alt.Axis(grid=False, tickMinStep=1, format="d"),
        ),
        x2="x2:Q",
        y=alt.Y(
            "expert:O", sort=rows, axis=y_axis, scale=alt.Scale(paddingInner=0, paddingOuter=0, round=True)
        ),
        tooltip=[
            alt.Tooltip("expert:O", title="expert"),
            alt.Tooltip("first_step:Q", title="from step", format="d"),
            alt.Tooltip("last_step:Q", title="to step", format="d"),
            alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
            alt.Tooltip("min_ratio:Q", title="lowest in between", format=".2f"),
            alt.Tooltip("max_ratio:Q", title="highest in between", format=".2f"),
            alt.Tooltip("tokens:Q", title="tokens", format=",d"),
        ],
    )
    pick = alt.selection_point(name=f"pick{suffix}", fields=["expert", "first_step"], on="click")
    live = (
        base.transform_filter("isValid(datum.value)")
        .mark_rect(clip=True)
        .encode(color=load_colour("value", limit=limit, colour=colour, legend=legend))
        .properties(name=f"cells{suffix}")
        .add_params(theme.zoom(f"zoom_x{suffix}"), pick)
    )
    dead = (
        base.transform_filter("datum.state == 'no tokens'")
        .mark_rect(clip=True)
        .encode(color=dead_colour(legend=legend))
    )
    return [live, dead, *theme.playhead_layers(playhead, named=named)]


def full_heatmap(
    load_matrix: LoadMatrix,
    *,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int = 520,
    dark: bool = False,
    playhead: float | None = None,
) -> go.Figure:
    """Every step and expert as one image with hover: for 100,000 cells and more, as a still.

    Never in a live view (Plotly figures remount on every change of data). Show it with
    `config=PLOTLY_CONFIG`. Plotly cannot see its background, so `dark` is given.
    """
    tokens = np.asarray(load_matrix.tokens, dtype=np.int64)
    if tokens.size == 0:
        return _empty_plotly("no expert loads recorded for this view", title, dark)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = tokens * (tokens.shape[1] / tokens.sum(1, keepdims=True))
        value = np.log2(ratio).astype(np.float32)
    dead = tokens == 0
    steps, experts = np.asarray(load_matrix.steps), np.arange(tokens.shape[1])
    ink = theme.DEAD.pick(dark)
    figure = go.Figure()
    hover = "step %{x}<br>expert %{y}<br>tokens %{customdata:,d}"
    figure.add_heatmap(
        x=steps,
        y=experts,
        z=np.where(dead, np.nan, value).T,
        zmin=-limit,
        zmax=limit,
        colorscale=plotly_scale(colour, dark=dark),
        customdata=tokens.T.astype(np.int32),
        hovertemplate=hover + "<br>log2(load / uniform) %{z:.2f}<extra></extra>",
        colorbar={
            "title": {"text": "load, × uniform"},
            "tickvals": ticks(limit),
            "ticktext": tick_labels(limit),
            "thickness": 12,
            "outlinewidth": 0,
        },
    )
    figure.add_heatmap(
        x=steps,
        y=experts,
        z=np.where(dead, 1.0, np.nan).T.astype(np.float32),
        colorscale=[[0, ink], [1, ink]],
        showscale=False,
        hovertemplate="step %{x}<br>expert %{y}<br>no tokens<extra></extra>",
    )
    if dead.any():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name="no tokens",
            marker={"color": ink, "symbol": "square", "size": 11},
            showlegend=True,
        )
    if playhead is not None:
        figure.add_vline(x=playhead, line={"color": theme.PLAYHEAD.pick(dark), "width": 1.5})
    figure.update_layout(
        title={"text": title} if title else None,
        height=height,
        margin={"l": 56, "r": 16, "t": 48, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": theme.NEUTRAL_TEXT.pick(dark)},
        legend={"orientation": "h", "y": 1.06, "x": 1, "xanchor": "right"},
    )
    figure.update_xaxes(title_text=theme.AXIS["step"], showgrid=False, zeroline=False)
    figure.update_yaxes(title_text=theme.AXIS["expert"], autorange="reversed", showgrid=False, zeroline=False)
    return figure


def _empty_plotly(message: str, title: str, dark: bool) -> go.Figure:
    figure = go.Figure()
    figure.add_annotation(
        text=message,
        showarrow=False,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        font={"color": theme.NEUTRAL_TEXT.pick(dark), "size": 14},
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(
        title={"text": title} if title else None,
        height=200,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure
