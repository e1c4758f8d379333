"""A layer with very many experts: what its figures ask and draw in the place of one row per expert."""

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from explorer.charts import captions, linking, rank_bars, rank_heatmap
from explorer.charts import spec as specs
from explorer.figures import events
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.settings import OneLayer, OneStep
from explorer.figures.store import Trace
from explorer.queries import biases as bias_queries
from explorer.queries import loads as load_queries
from explorer.queries import many_experts as queries

MOST = 256
"""Experts of a layer that still have a row, a bar and a line each."""
MAP_PX = 320
"""Height of a heatmap by rank on a canvas."""
ROWS_HOW = (
    f"One row for each of the {queries.ALONE} experts with the most tokens over the run, the busiest on top; "
    "below, experts of neighbouring ranks share a row that shows their mean."
)
BARS_HOW = (
    f"Bars: the {rank_bars.ALONE} busiest experts of the step. Grey curve: all others by rank, on a "
    "logarithmic axis. The dashed line at 1 marks an even share."
)
BAND_HOW = (
    "Light band: lowest to highest bias of all experts; darker band: the middle 80 %; grey line: the median. "
    f"Thin lines: the {queries.EACH_END} highest and lowest final biases."
)


def is_many(run: Run, layer: int) -> bool:
    """Whether a layer has too many experts for one row per expert."""
    return run.width(layer) > MOST


def shared_rows(experts: Sequence[int]) -> list[int | list[int]]:
    """The rows of the player for experts by rank: the first ones alone, neighbours together."""
    alone, rest = list(experts[: queries.ALONE]), experts[queries.ALONE :]
    each = -(-len(rest) // queries.GROUPS) or 1
    return [*alone, *(list(rest[at : at + each]) for at in range(0, len(rest), each))]


def cells_for_text(trace: Trace, run: Run, settings: OneLayer, step: int | None = None) -> pl.DataFrame:
    """What a sentence on a heatmap reads: of many experts only the column at `step`, None for the last."""
    if not is_many(run, settings.layer):
        return trace.ask(load_queries.load_heatmap, run, settings.layer, settings.bins)
    at = run.last_step if step is None else step
    return trace.ask(queries.load_bin, run, settings.layer, settings.bins, at)


def heatmap(
    trace: Trace, arms: ArmSet, settings: OneLayer, *, subject: str, title: str, step: int | None = None
) -> Panel:
    """The loads of the only arm by rank, with a playhead at `step` if there is one."""
    (arm,) = arms
    run, layer = arm.first, settings.layer
    frame = trace.ask(queries.load_ranks, run, layer, settings.bins)
    marked = events.of_layer(trace, run, layer)
    chart = specs.make(
        rank_heatmap.rank_heatmap(
            frame,
            title=title,
            events=marked,
            scope=linking.scope_of(run.run_id),
            playhead=None if step is None else specs.SOMEWHERE,
        )
    )
    return Panel(
        subject=subject,
        finding=captions.load_heatmap(cells_for_text(trace, run, settings, step), step),
        how=ROWS_HOW + events.marks_note(marked),
        spec=chart,
        on_page=specs.without_legend(chart) if step is None else None,
        playhead=None if step is None else float(step),
        table=frame,
        statements=trace.statements,
    )


def bars(trace: Trace, run: Run, settings: OneStep, *, subject: str) -> Panel:
    """The busiest experts of one step, and the distribution of the others."""
    frame = trace.ask(load_queries.loads_at, run, settings.layer, settings.step)
    chart = _bar_chart(frame.height, linking.scope_of(run.run_id))
    return Panel(
        subject=subject,
        finding=captions.load_bars(frame),
        how=BARS_HOW,
        spec=chart.with_rows(rank_bars.bars(frame)).with_rows(rank_bars.curve(frame)),
        table=frame,
        statements=trace.statements,
    )


@lru_cache(maxsize=16)
def _bar_chart(experts: int, scope: str) -> specs.Spec:
    """The chart of `bars` with rows of zeros, built once."""
    frame = pl.DataFrame({"expert": range(experts), "load_ratio": [0.0] * experts, "tokens": [0] * experts})
    return specs.make(rank_bars.rank_bars(frame, scope=scope))


def trajectories(
    trace: Trace, run: Run, settings: OneLayer, expert: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    """The lines to draw, the rows that a sentence on them reads, and the band of all experts.

    Of many experts only the extremes have a line, and `expert` whatever its bias; else every expert has one
    and there is no band.
    """
    at = (run, settings.layer, settings.bins)
    if not is_many(run, settings.layer):
        frame = trace.ask(bias_queries.bias_trajectories, *at)
        return frame, frame, None
    extremes = trace.ask(queries.extreme_biases, *at, queries.EACH_END, -1 if expert is None else expert)
    return extremes, trace.ask(queries.bias_ends, *at), trace.ask(queries.bias_band, *at)
