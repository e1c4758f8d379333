"""Expert loads of every step as one Plotly image, for more cells than Vega can draw."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from explorer.charts import theme
from explorer.charts.scales import LOAD_LIMIT, plotly_scale, tick_labels, ticks
from explorer.records.matrix import LoadMatrix

PLOTLY_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # Plotly's own HTML offers to upload the figure to its cloud; ours must not.
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
}
HOVER = "step %{x}<br>expert %{y}<br>"
CLEAR = "rgba(0,0,0,0)"


def full_heatmap(
    load_matrix: LoadMatrix,
    *,
    title: str = "",
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
    figure = go.Figure()
    x, y = np.asarray(load_matrix.steps), np.arange(tokens.shape[1])
    figure.add_heatmap(x=x, y=y, **_cells(tokens, np.where(dead, np.nan, value), dark=dark))
    figure.add_heatmap(x=x, y=y, **_dead(dead, dark=dark))
    if dead.any():
        _dead_legend(figure, dark=dark)
    if playhead is not None:
        figure.add_vline(x=playhead, line={"color": theme.PLAYHEAD.pick(dark), "width": 1.5})
    figure.update_layout(
        title={"text": title} if title else None,
        height=height,
        margin={"l": 56, "r": 16, "t": 48, "b": 48},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"color": theme.NEUTRAL_TEXT.pick(dark)},
        legend={"orientation": "h", "y": 1.06, "x": 1, "xanchor": "right"},
    )
    figure.update_xaxes(title_text=theme.AXIS["step"], showgrid=False, zeroline=False)
    figure.update_yaxes(title_text=theme.AXIS["expert"], autorange="reversed", showgrid=False, zeroline=False)
    return figure


def _cells(tokens: NDArray[np.int64], value: NDArray[np.float32], *, dark: bool) -> dict[str, Any]:
    """The trace of the experts that received tokens. tokens, value: [S, E]; value: NaN elsewhere."""
    return {
        "z": value.T,
        "zmin": -LOAD_LIMIT,
        "zmax": LOAD_LIMIT,
        "colorscale": plotly_scale(dark=dark),
        "customdata": tokens.T.astype(np.int32),
        "hovertemplate": HOVER + "tokens %{customdata:,d}<br>log2(load / uniform) %{z:.2f}<extra></extra>",
        "colorbar": {
            "title": {"text": "load, × uniform"},
            "tickvals": ticks(),
            "ticktext": tick_labels(),
            "thickness": 12,
            "outlinewidth": 0,
        },
    }


def _dead(dead: NDArray[np.bool_], *, dark: bool) -> dict[str, Any]:
    """The trace of the experts without a token, in one flat colour. dead: [S, E]."""
    ink = theme.DEAD.pick(dark)
    return {
        "z": np.where(dead, 1.0, np.nan).T.astype(np.float32),
        "colorscale": [[0, ink], [1, ink]],
        "showscale": False,
        "hovertemplate": HOVER + "no tokens<extra></extra>",
    }


def _dead_legend(figure: go.Figure, *, dark: bool) -> None:
    """A legend entry for their colour: a heatmap has none of its own."""
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name="no tokens",
        marker={"color": theme.DEAD.pick(dark), "symbol": "square", "size": 11},
        showlegend=True,
    )


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
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
    )
    return figure
