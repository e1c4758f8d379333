"""Loads of very many experts as a heatmap of ranks: the busiest alone, the rest in groups."""

import altair as alt
import polars as pl

from explorer.charts import event_marks, heatmaps, linking, theme
from explorer.charts.playhead import playhead_layers

ROW_PX = 5
"""Height of a row."""
LABEL_PX = 15
"""Least distance of two names on the axis."""


def names(frame: pl.DataFrame) -> list[str]:
    """The name of every row from top to bottom: an expert's number, or the ranks of a group.

    frame: columns of `queries.load_ranks`.
    """
    rows = frame.unique("row").sort("row").select("expert", "first_rank", "last_rank").rows()
    return [str(expert) if expert is not None else f"ranks {first}–{last}" for expert, first, last in rows]


def rank_heatmap(
    frame: pl.DataFrame,
    *,
    playhead: float | theme.Follow | None = None,
    events: pl.DataFrame | None = None,
    title: str = "",
    scope: str | None = None,
) -> theme.Figure:
    """Load by rank over steps, on the colours of `heatmaps.load_heatmap`; a group shows its mean.

    frame: columns of `queries.load_ranks`. A click sets the selection `pick` (expert, first_step), in a group
    its busiest expert there. `events`: of this layer, see `event_marks.event_layers`.
    """
    if frame.is_empty():
        return theme.no_data("no expert loads recorded for this view", title=title)
    labels = names(frame)
    base = _base(_cells(frame, labels), labels)
    live, dead = heatmaps.cell_layers(base, linking.hover(scope))
    span = (float(frame["first_step"].min()), float(frame["last_step"].max()) + 1)  # type: ignore[arg-type]
    above = event_marks.event_layers(events, span, above=True)
    chart = alt.layer(live, dead, *above, *playhead_layers(playhead)).resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=ROW_PX * len(labels))
    return figure


def _cells(frame: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    """The cells of `heatmaps.cells` with their row's edges and name, and the busiest expert of each."""
    cells = heatmaps.cells(frame.with_columns(expert=pl.col("row")))
    return cells.with_columns(
        expert=frame["busiest"],
        busiest_ratio=frame["busiest_ratio"].round(3),
        y=ROW_PX * cells["expert"].cast(pl.Float64),
        y2=ROW_PX * (cells["expert"].cast(pl.Float64) + 1),
        name=cells["expert"].replace_strict(list(range(len(labels))), labels, return_dtype=pl.String),
    )


def _base(cells: pl.DataFrame, labels: list[str]) -> alt.Chart:
    """The cells without colour, on axes of steps and ranks."""
    every = -(-LABEL_PX // ROW_PX)
    places = [ROW_PX * (row + 0.5) for row in range(0, len(labels), every)]
    axes = heatmaps.cell_axes("expert, busiest first", places, labels[::every], ROW_PX * len(labels))
    chart: alt.Chart = alt.Chart(cells).encode(
        **axes,
        tooltip=[
            alt.Tooltip("name:N", title="expert or ranks"),
            *heatmaps.load_tooltip("mean load, × uniform"),
            alt.Tooltip("expert:Q", title="busiest here: expert", format="d"),
            alt.Tooltip("busiest_ratio:Q", title="its load, × uniform", format=".2f"),
            heatmaps.tokens_tooltip(),
        ],
    )
    return chart
