"""Expert loads over steps as heatmaps: binned with Altair, at full resolution with Plotly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import altair as alt
import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from explorer.charts import event_marks, linking, theme
from explorer.charts.scales import dead_colour, load_colour, plotly_scale, tick_labels, ticks

PLOTLY_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # Plotly's own HTML offers to upload the figure to its cloud; ours must not.
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
}
TALLEST = 460
PANEL_GAP = 40


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
    events: pl.DataFrame | None = None,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int | None = None,
    expert_order: Sequence[int] | None = None,
    scope: str | None = None,
) -> theme.Figure:
    """Load of every expert over steps, relative to uniform, on a log2 scale of +-`limit`.

    frame: columns of `queries.load_heatmap` (at most 200 bins x E experts). `expert_order` gives the
    rows from top to bottom; by index without it. A click sets the selection `pick` (expert, first_step). The
    row under the pointer gets an outline, with `scope` in all figures of the same (`charts.linking`).
    `events`: of this layer, see `event_marks.event_layers`.
    """
    if frame.is_empty():
        return theme.no_data("no expert loads recorded for this view", title=title)
    experts = _experts(frame, expert_order)
    row = max(1, (height or min(TALLEST, max(140, 16 * len(experts)))) // len(experts))
    panel = _Panel("", cells(frame, limit), experts, top=0, row=row)
    return _figure(
        [panel], limit=limit, colour=colour, playhead=playhead, events=events, title=title, scope=scope
    )


def compare_heatmaps(
    frames: Mapping[str, pl.DataFrame],
    *,
    playhead: float | None = None,
    title: str = "",
    limit: float = 2.0,
    colour: str = "PuOr",
    height: int | None = None,
) -> theme.Figure:
    """Several runs under each other: the same steps, the same colours, one legend, one zoom.

    One view, not stacked ones: Vega can fit only a single view into its container. `height` is that of
    one run.
    """
    shown = {label: frame for label, frame in frames.items() if not frame.is_empty()}
    if not shown:
        return theme.no_data("no expert loads recorded for these runs", title=title)
    rows = {label: _experts(frame, None) for label, frame in shown.items()}
    most = max(map(len, rows.values()))
    row = max(1, int(height or min(16 * most, max(140, TALLEST / len(shown) + 60))) // most)
    panels: list[_Panel] = []
    top = PANEL_GAP // 2
    for label, frame in shown.items():
        panels.append(_Panel(label, cells(frame, limit), rows[label], top=top, row=row))
        top = panels[-1].bottom + PANEL_GAP
    return _figure(panels, limit=limit, colour=colour, playhead=playhead, title=title)


def _experts(frame: pl.DataFrame, order: Sequence[int] | None) -> list[int]:
    return list(order) if order is not None else sorted(map(int, frame["expert"].unique()))


@dataclass(frozen=True)
class _Panel:
    """One run: where it lies, in pixels from the top of the figure."""

    label: str
    cells: pl.DataFrame
    experts: list[int]
    top: int
    row: int

    @property
    def bottom(self) -> int:
        return self.top + self.row * len(self.experts)

    def placed(self) -> pl.DataFrame:
        """The cells with their upper and lower edge."""
        places = pl.DataFrame(
            {
                "expert": pl.Series(self.experts, dtype=pl.Int32),
                "y": [float(self.top + i * self.row) for i in range(len(self.experts))],
            }
        )
        joined = self.cells.join(places, on="expert", how="inner", maintain_order="left")
        return joined.with_columns(y2=pl.col("y") + self.row, run=pl.lit(self.label))

    def ticks(self) -> list[tuple[float, str]]:
        """Where an expert's number stands: as many as have room."""
        every = next(k for k in (1, 2, 4, 8, 16, 32, 64, 128, 10**9) if k * self.row >= 15)
        shown = list(enumerate(self.experts))[::every]
        return [(self.top + (i + 0.5) * self.row, str(expert)) for i, expert in shown]


def _figure(
    panels: Sequence[_Panel],
    *,
    limit: float,
    colour: str,
    playhead: float | None,
    title: str,
    events: pl.DataFrame | None = None,
    scope: str | None = None,
) -> theme.Figure:
    tall = panels[-1].bottom
    marks = [tick for panel in panels for tick in panel.ticks()]
    places, names = [place for place, _ in marks], [name for _, name in marks]
    y_axis = alt.Axis(
        title=theme.AXIS["expert"],
        values=places,
        labelExpr=f"{names}[indexof({places}, datum.value)]",
        grid=False,
        domain=False,
        ticks=False,
        labelOverlap=False,
    )
    tooltip = [
        alt.Tooltip("expert:O", title="expert"),
        alt.Tooltip("first_step:Q", title="from step", format="d"),
        alt.Tooltip("last_step:Q", title="to step", format="d"),
        alt.Tooltip("load_ratio:Q", title="load, × uniform", format=".2f"),
        alt.Tooltip("min_ratio:Q", title="lowest in between", format=".2f"),
        alt.Tooltip("max_ratio:Q", title="highest in between", format=".2f"),
        alt.Tooltip("tokens:Q", title="tokens", format=",d"),
    ]
    if len(panels) > 1:
        tooltip.insert(0, alt.Tooltip("run:N"))
    # The scales round to whole pixels, or neighbouring cells would show hair lines between them.
    placed = pl.concat([panel.placed() for panel in panels])
    base = alt.Chart(placed).encode(
        x=alt.X(
            "x:Q",
            title=theme.AXIS["step"],
            scale=alt.Scale(zero=False, nice=False, round=True),
            axis=theme.step_axis(),
        ),
        x2=alt.X2("x2:Q"),
        y=alt.Y("y:Q", axis=y_axis, scale=alt.Scale(domain=[0, tall], reverse=True, nice=False, round=True)),
        y2=alt.Y2("y2:Q"),
        tooltip=tooltip,
    )
    pick = alt.selection_point(name="pick", fields=["expert", "first_step"], on="click", empty=False)
    live = (
        base.transform_filter("isValid(datum.value)")
        .mark_rect(clip=True)
        .encode(color=load_colour("value", limit=limit, colour=colour))
        .properties(name="cells")
        .add_params(theme.zoom(), pick, *([linking.hover(scope)] if len(panels) == 1 else []))
    )
    dead = (
        base.transform_filter("datum.state == 'no tokens'").mark_rect(clip=True).encode(color=dead_colour())
    )
    titles = pl.DataFrame({"y": [float(p.top) for p in panels], "label": [p.label for p in panels]})
    heads = (
        alt.Chart(titles)
        .mark_text(
            align="left",
            baseline="bottom",
            dy=-5,
            fontSize=13,
            fontWeight=600,
            color=theme.STRONG_TEXT.expr,
            clip=False,
        )
        .encode(x=alt.XValue(0), y=alt.Y("y:Q"), text=alt.Text("label:N"))
    )
    span = (float(placed["x"].min()), float(placed["x2"].max()))  # type: ignore[arg-type]
    above = event_marks.event_layers(events, span, above=True)
    lit = _lit_rows(base) if len(panels) == 1 else []
    chart = alt.layer(live, dead, *lit, heads, *above, *theme.playhead_layers(playhead))
    chart = chart.resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=tall)
    return figure


def _lit_rows(base: alt.Chart) -> list[alt.Chart]:
    """A frame around the row of the expert under the pointer; one panel has one run's experts."""
    rows = base.transform_aggregate(groupby=["expert", "y", "y2"]).encode(
        x=alt.XValue(0),
        x2=alt.X2Value("width"),
        opacity=linking.when_lit(1, 0, 0),
        tooltip=alt.TooltipValue(None),
    )
    # The page's colour around the line keeps it visible on any cell.
    halo = rows.mark_rect(filled=False, stroke=alt.ExprRef("background"), strokeWidth=4)
    line = rows.mark_rect(filled=False, stroke=theme.PLAYHEAD.expr, strokeWidth=1.5)
    return [halo, line]


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
