"""Expert load: who receives the tokens."""

from functools import lru_cache

import plotly.graph_objects as go
import polars as pl

from explorer.charts import captions, heatmaps, linking
from explorer.charts import loads as bar_charts
from explorer.charts import spec as specs
from explorer.charts.full_heatmap import full_heatmap
from explorer.figures import events, many_experts, merge
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import LayerUntil, OneLayer, OneStep
from explorer.figures.store import Store, Trace
from explorer.queries import loads as queries
from explorer.wording import listed

SMALL_PX = 230
"""Height of a heatmap where several stand under each other."""
STACKED_PX = 176
"""Height of each of several heatmaps in one chart."""
ALONE_PX = 260
"""Height of a chart of one heatmap."""
_ROWS = "One row per expert, time to the right. Orange is overloaded, purple under-loaded"
_NAMES = "Expert 3 of one run is not expert 3 of another"
HEATMAP_HOW = f"{_ROWS}, and the colours mean the same in every panel. {_NAMES}: compare patterns, not rows."
STACKED_HOW = f"{_ROWS}. {_NAMES}."
STILL_HOW = f"{_ROWS}."
BARS_HOW = "The dashed line at 1 marks the uniform load."


def heatmap(store: Store, arms: ArmSet, settings: OneLayer) -> Panel | Missing:
    """Load of every expert of one layer over training, in the first run of the only arm."""
    (arm,) = arms
    run, layer = arm.first, settings.layer
    trace, subject = Trace(store), heatmap_subject(arms, settings)
    if many_experts.is_many(run, layer):
        return many_experts.heatmap(trace, arms, settings, subject=subject, title=arms.title(arm))
    frame = trace.ask(queries.load_heatmap, run, layer, settings.bins)
    marked = events.of_layer(trace, run, layer)
    chart = specs.make(
        heatmaps.load_heatmap(
            frame,
            title=arms.title(arm),
            height=SMALL_PX,
            events=marked,
            scope=linking.scope_of(run.run_id),
        )
    )
    return Panel(
        subject=subject,
        finding=captions.load_heatmap(frame),
        how=HEATMAP_HOW + events.marks_note(marked),
        spec=chart,
        on_page=specs.without_legend(chart),
        table=frame,
        statements=trace.statements,
    )


def rows_how(arms: ArmSet, layer: int) -> str:
    """How to read the heatmaps of these arms beside each other."""
    many = [many_experts.is_many(arm.first, layer) for arm in arms]
    parts = [] if all(many) else [HEATMAP_HOW]
    return " ".join([*parts, *([many_experts.ROWS_HOW] if any(many) else [])])


def bars_how(run: Run, layer: int) -> str:
    """How to read `bars` of a layer."""
    return many_experts.BARS_HOW if many_experts.is_many(run, layer) else BARS_HOW


def heatmap_subject(arms: ArmSet, settings: OneLayer) -> str:
    """What `heatmap` shows of the only arm."""
    (arm,) = arms
    return f"Expert load of {arms.one_seed(arm)}, layer {settings.layer}"


def stacked(store: Store, arms: ArmSet, settings: LayerUntil) -> Panel:
    """The same for several arms (the first run of each) under each other in one chart."""
    trace = Trace(store)
    frames = {
        label: merge.up_to(frame, settings.until) for label, frame in _frames(trace, arms, settings).items()
    }
    chart = heatmaps.compare_heatmaps(frames, height=STACKED_PX if len(frames) > 1 else ALONE_PX)
    finding = captions.compare_heatmaps(frames)
    if settings.until is not None:
        finding = finding.replace("At the end", f"By step {settings.until}", 1)
    return Panel(
        subject=f"Expert load of layer {settings.layer}, seed {arms.arms[0].first.seed}",
        finding=finding,
        how=STACKED_HOW + settings.end_note,
        spec=specs.without_legend(specs.make(chart)),
        table=pl.concat([frame.with_columns(run=pl.lit(label)) for label, frame in frames.items()]),
        statements=trace.statements,
    )


def busiest_experts(store: Store, arms: ArmSet, settings: OneLayer) -> str:
    """One sentence that compares the heatmaps of these arms at their last step."""
    trace = Trace(store)
    return captions.compare_heatmaps(
        {arms.title(arm): many_experts.cells_for_text(trace, arm.first, settings) for arm in arms}
    )


def _frames(trace: Trace, arms: ArmSet, settings: OneLayer) -> dict[str, pl.DataFrame]:
    """Label of each arm -> `queries.load_heatmap` of its first run."""
    return {
        arms.title(arm): trace.ask(queries.load_heatmap, arm.first, settings.layer, settings.bins)
        for arm in arms
    }


def without_layer(arms: ArmSet, layer: int) -> list[str]:
    """One sentence per arm that has loads, but not this MoE layer."""
    return [
        f"“{arms.label(arm)}” has no MoE layer {layer}; its MoE layers are {listed(arm.first.layers)}."
        for arm in arms.with_loads()
        if layer not in arm.first.layers
    ]


def event_kinds(store: Store, arms: ArmSet, settings: OneLayer) -> set[str]:
    """The kinds of events marked above these heatmaps."""
    trace = Trace(store)
    return {kind for arm in arms for kind in events.of_layer(trace, arm.first, settings.layer)["kind"]}


def heatmap_at(store: Store, arms: ArmSet, settings: OneStep) -> Panel:
    """The same heatmap with a playhead at one step, and a finding about the loads there."""
    (arm,) = arms
    run, layer = arm.first, settings.layer
    trace, subject = Trace(store), heatmap_subject(arms, settings)
    if many_experts.is_many(run, layer):
        return many_experts.heatmap(trace, arms, settings, subject=subject, title="", step=settings.step)
    frame = trace.ask(queries.load_heatmap, run, layer, settings.bins)
    marked = events.of_layer(trace, run, layer)
    return Panel(
        subject=subject,
        finding=captions.load_heatmap(frame, settings.step),
        how=STILL_HOW + events.marks_note(marked),
        spec=specs.make(heatmaps.load_heatmap(frame, playhead=specs.SOMEWHERE, events=marked)),
        playhead=float(settings.step),
        table=frame,
        statements=trace.statements,
    )


def bars(store: Store, arms: ArmSet, settings: OneStep) -> Panel:
    """Load of every expert of one layer at one step, in the first run of the only arm.

    The chart is built once per layer and gets the rows of each step, so another step costs one query.
    """
    (arm,) = arms
    run, layer = arm.first, settings.layer
    # Not the step: a page describes the chart with the subject, and draws it anew where that changes.
    trace, subject = Trace(store), f"Expert load at the playhead, layer {layer}"
    if many_experts.is_many(run, layer):
        return many_experts.bars(trace, run, settings, subject=subject)
    frame = trace.ask(queries.loads_at, run, layer, settings.step)
    order = settings.order
    chart = _bar_chart(
        tuple(frame.columns),
        tuple(name for name in frame.columns if frame[name].null_count() == frame.height),
        tuple(frame["expert"].to_list()),
        None if order is None else order.experts,
        "" if order is None else order.axis_note,
        linking.scope_of(run.run_id),
    )
    return Panel(
        subject=subject,
        finding=captions.load_bars(frame),
        how=BARS_HOW,
        spec=chart.with_rows(bar_charts.bar_rows(frame)),
        table=frame,
        statements=trace.statements,
    )


@lru_cache(maxsize=64)
def _bar_chart(
    columns: tuple[str, ...],
    unknown: tuple[str, ...],
    experts: tuple[int, ...],
    order: tuple[int, ...] | None,
    order_words: str,
    scope: str,
) -> specs.Spec:
    """The chart of `bars` with rows of zeros. unknown: columns without any value, which get no tooltip."""
    zeros = {name: [None if name in unknown else 0.0] * len(experts) for name in columns}
    frame = pl.DataFrame({**zeros, "expert": list(experts)}, schema_overrides={"expert": pl.Int32})
    return specs.make(bar_charts.load_bars(frame, order=order, order_words=order_words, scope=scope))


def every_step(store: Store, arms: ArmSet, settings: OneLayer, *, dark: bool = False) -> go.Figure:
    """Load of every expert at every recorded step, as a Plotly image: too many cells for Vega.

    Runs with more than 4,000 recorded steps are binned to that many columns.
    """
    (arm,) = arms
    matrix = Trace(store).ask(queries.load_matrix, arm.first, settings.layer)
    return full_heatmap(matrix, title=f"{arms.one_seed(arm)}, layer {settings.layer}", dark=dark)
