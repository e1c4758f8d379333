"""Expert loads over steps as heatmaps of binned steps; `charts.full_heatmap` draws every step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import event_marks, linking, theme
from explorer.charts.anchored import anchored
from explorer.charts.playhead import playhead_layers
from explorer.charts.scales import clipped_power, dead_colour, load_colour

TALLEST = 460
PANEL_GAP = 40


def cells(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per rectangle: x from this bin to the next, value = log2(load ratio), clipped.

    Logs can be sparse (every 10th step), so a bin ends where the next one starts. A dead expert has
    state "no tokens" and no value; where no expert of the layer has any, the state is "not recorded".
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
        value=pl.when(dead).then(None).otherwise(clipped_power(pl.col("load_ratio"))).round(3),
        load_ratio=pl.col("load_ratio").cast(pl.Float64).round(3),
        min_ratio=pl.col("min_ratio").cast(pl.Float64).round(3),
        max_ratio=pl.col("max_ratio").cast(pl.Float64).round(3),
        tokens=pl.col("tokens").cast(pl.Int64),
        state=pl.when(pl.col("tokens").sum().over("first_step") == 0)
        .then(pl.lit("not recorded"))
        .when(dead)
        .then(pl.lit("no tokens"))
        .otherwise(pl.lit("some")),
    )


def load_heatmap(
    frame: pl.DataFrame,
    *,
    playhead: float | None = None,
    events: pl.DataFrame | None = None,
    title: str = "",
    height: int | None = None,
    expert_order: Sequence[int] | None = None,
    scope: str | None = None,
) -> theme.Figure:
    """Load of every expert over steps, relative to uniform, on a log2 scale.

    frame: columns of `queries.load_heatmap` (at most 200 bins x E experts). `expert_order` gives the
    rows from top to bottom; by index without it. A click sets the selection `pick` (expert, first_step). The
    row under the pointer gets an outline, with `scope` in all figures of the same (`charts.linking`).
    `events`: of this layer, see `event_marks.event_layers`.
    """
    if frame.is_empty():
        return theme.no_data("no expert loads recorded for this view", title=title)
    experts = _experts(frame, expert_order)
    row = max(1, (height or min(TALLEST, max(140, 16 * len(experts)))) // len(experts))
    panel = _Panel("", cells(frame), experts, top=0, row=row)
    return _figure([panel], playhead=playhead, events=events, title=title, scope=scope)


def compare_heatmaps(
    frames: Mapping[str, pl.DataFrame],
    *,
    playhead: float | None = None,
    title: str = "",
    height: int | None = None,
) -> theme.Figure:
    """Several runs under each other: the same steps, the same colours, one legend, one zoom.

    One view, not stacked ones: Vega can fit only a single view into its container. `height` is that of
    one run.
    """
    present = {label: frame for label, frame in frames.items() if not frame.is_empty()}
    if not present:
        return theme.no_data("no expert loads recorded for these runs", title=title)
    rows = {label: _experts(frame, None) for label, frame in present.items()}
    most = max(map(len, rows.values()))
    row = max(1, int(height or min(16 * most, max(140, TALLEST / len(present) + 60))) // most)
    panels: list[_Panel] = []
    top = PANEL_GAP // 2
    for label, frame in present.items():
        panels.append(_Panel(label, cells(frame), rows[label], top=top, row=row))
        top = panels[-1].bottom + PANEL_GAP
    return _figure(panels, playhead=playhead, title=title)


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

    def cells_with_edges(self) -> pl.DataFrame:
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
        """Positions of the experts' numbers: as many as fit."""
        every = next(k for k in (1, 2, 4, 8, 16, 32, 64, 128, 10**9) if k * self.row >= 15)
        ticks = list(enumerate(self.experts))[::every]
        return [(self.top + (i + 0.5) * self.row, str(expert)) for i, expert in ticks]


def _figure(
    panels: Sequence[_Panel],
    *,
    playhead: float | None,
    title: str,
    events: pl.DataFrame | None = None,
    scope: str | None = None,
) -> theme.Figure:
    tall = panels[-1].bottom
    # The scales round to whole pixels, or neighbouring cells would show hair lines between them.
    cells = pl.concat([panel.cells_with_edges() for panel in panels])
    base = _base(cells, panels, tall)
    live, dead = cell_layers(base, *([linking.hover(scope)] if len(panels) == 1 else []))
    heads = _heads(panels)
    span = (float(cells["x"].min()), float(cells["x2"].max()))  # type: ignore[arg-type]
    above = event_marks.event_layers(events, span, above=True)
    lit = _lit_rows(base) if len(panels) == 1 else []
    chart = alt.layer(live, dead, *lit, heads, *above, *playhead_layers(playhead))
    chart = chart.resolve_scale(color="independent")
    figure: alt.LayerChart = theme.titled(chart, title=title, height=tall)
    return figure


def _base(cells: pl.DataFrame, panels: Sequence[_Panel], tall: int) -> alt.Chart:
    """The cells without colour, on axes of steps and experts. cells: of all panels; tall: in pixels."""
    marks = [tick for panel in panels for tick in panel.ticks()]
    places, names = [place for place, _ in marks], [name for _, name in marks]
    base: alt.Chart = alt.Chart(cells).encode(
        **cell_axes(theme.AXIS["expert"], places, names, tall), tooltip=_tooltip(several=len(panels) > 1)
    )
    return base


def cell_layers(base: alt.Chart, *params: alt.Parameter) -> tuple[alt.Chart, alt.Chart]:
    """The cells with a load, which a click selects as `pick` (expert, first_step), and those without tokens.

    params: further selections of the first.
    """
    pick = alt.selection_point(name="pick", fields=["expert", "first_step"], on="click", empty=False)
    live: alt.Chart = (
        base.transform_filter("isValid(datum.value)")
        .mark_rect(clip=True)
        .encode(color=load_colour("value"))
        .properties(name="cells")
        .add_params(theme.zoom(), pick, *params)
    )
    dead: alt.Chart = (
        base.transform_filter("datum.state == 'no tokens'").mark_rect(clip=True).encode(color=dead_colour())
    )
    return live, anchored(dead)


def cell_axes(title: str, places: Sequence[float], names: Sequence[str], tall: int) -> dict[str, Any]:
    """Encodings of cells from (x, y) to (x2, y2): steps across, rows in pixels from the top.

    places, names: position and name of each row that is named; tall: height of all rows in pixels.
    """
    places, names = list(places), list(names)
    axis = alt.Axis(
        title=title,
        values=places,
        labelExpr=f"{names}[indexof({places}, datum.value)]",
        grid=False,
        domain=False,
        ticks=False,
        labelOverlap=False,
    )
    return {
        "x": alt.X(
            "x:Q",
            title=theme.AXIS["step"],
            scale=alt.Scale(zero=False, nice=False, round=True),
            axis=theme.step_axis(),
        ),
        "x2": alt.X2("x2:Q"),
        "y": alt.Y("y:Q", axis=axis, scale=alt.Scale(domain=[0, tall], reverse=True, nice=False, round=True)),
        "y2": alt.Y2("y2:Q"),
    }


def _tooltip(*, several: bool) -> list[alt.Tooltip]:
    """The numbers of a cell; of several runs also which one it belongs to."""
    run = [alt.Tooltip("run:N")] if several else []
    return [*run, alt.Tooltip("expert:O", title="expert"), *load_tooltip("load, × uniform"), tokens_tooltip()]


def load_tooltip(title: str) -> list[alt.Tooltip]:
    """Steps and load of a cell. title: of its load."""
    return [
        alt.Tooltip("first_step:Q", title="from step", format="d"),
        alt.Tooltip("last_step:Q", title="to step", format="d"),
        alt.Tooltip("load_ratio:Q", title=title, format=".2f"),
        alt.Tooltip("min_ratio:Q", title="lowest in between", format=".2f"),
        alt.Tooltip("max_ratio:Q", title="highest in between", format=".2f"),
    ]


def tokens_tooltip() -> alt.Tooltip:
    """The tokens of a cell."""
    return alt.Tooltip("tokens:Q", title="tokens", format=",d")


def _heads(panels: Sequence[_Panel]) -> alt.Chart:
    """The label of each run above its cells."""
    titles = pl.DataFrame({"y": [float(p.top) for p in panels], "label": [p.label for p in panels]})
    heads: alt.Chart = (
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
    return heads


def _lit_rows(base: alt.Chart) -> list[alt.Chart]:
    """A frame around the row of the expert under the pointer; one panel has one run's experts."""
    rows = base.transform_aggregate(groupby=["expert", "y", "y2"]).encode(
        x=alt.XValue(0),
        x2=alt.X2Value("width"),
        opacity=linking.by_highlight(1, 0, 0),
        tooltip=alt.TooltipValue(None),
    )
    return linking.outline(rows, width=1.5, halo=4)
