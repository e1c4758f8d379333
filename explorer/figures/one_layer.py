"""One MoE layer of recorded runs, for a page that shows it beside a text: loads, biases, loads by domain."""

from dataclasses import dataclass

import polars as pl

from explorer.charts import biases as bias_charts
from explorer.charts import captions, domains, heatmaps
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.biases import extremes, gap_of
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.queries.biases import bias_trajectories
from explorer.queries.domains import domain_expert
from explorer.queries.loads import load_heatmap

LINES_PX = 340
HEATMAP_PX = 260
SEVERAL_PX = 176
"""Height of each of several heatmaps in one chart."""
DOMAINS_PX = 156


@dataclass(frozen=True, kw_only=True)
class LayerUntil:
    """One layer from the first step to `until`; None: the whole training."""

    layer: int
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class LayerDomains:
    """Held-out loads of one layer by domain."""

    layer: int
    how: bool = True
    """Whether the panel says how to read it; of several under each other only the last one does."""


def loads(store: Store, arms: ArmSet, settings: LayerUntil) -> Panel:
    """Load of every expert over training, one heatmap per arm (its first run) under each other."""
    trace = Trace(store)
    frames = {
        arms.label(arm): _until(trace.ask(load_heatmap, arm.first, settings.layer), settings) for arm in arms
    }
    chart = specs.make(
        heatmaps.compare_heatmaps(frames, height=SEVERAL_PX if len(frames) > 1 else HEATMAP_PX)
    )
    finding = captions.compare_heatmaps(frames)
    if settings.until is not None:
        finding = finding.replace("At the end", f"By step {settings.until}", 1)
    return Panel(
        subject=f"Expert load of layer {settings.layer}, seed {arms.arms[0].first.seed}",
        finding=finding,
        how="One row per expert, time to the right. Orange is overloaded, purple under-loaded. Expert 3 of "
        f"one run is not expert 3 of another.{_end(settings)}",
        spec=specs.without_legend(chart),
        table=pl.concat([frame.with_columns(run=pl.lit(label)) for label, frame in frames.items()]),
        statements=trace.statements,
    )


def biases(store: Store, arms: ArmSet, settings: LayerUntil) -> Panel:
    """Bias of every expert over training, in the first run of the only arm."""
    (arm,) = arms
    trace = Trace(store)
    frame = _until(trace.ask(bias_trajectories, arm.first, settings.layer), settings)
    gap = gap_of(arm.first, frame)
    chart = bias_charts.bias_trajectories(frame, highlight=extremes(frame), gap=gap, height=LINES_PX)
    return Panel(
        subject=f"Bias trajectories of {arm.label}, layer {settings.layer}, seed {arm.first.seed}",
        finding=captions.bias_trajectories(frame, gap=gap),
        how="One line per expert; bold: the highest and lowest final bias. A rising bias makes an expert "
        f"more likely to be selected.{_end(settings)}",
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def loads_by_domain(store: Store, arms: ArmSet, settings: LayerDomains) -> Panel:
    """Held-out load of every expert by domain, at the last evaluation of the first run of the only arm."""
    (arm,) = arms
    label, trace = arms.label(arm), Trace(store)
    frame = trace.ask(domain_expert, arm.first, settings.layer)
    chart = specs.make(domains.domain_expert_heatmap(frame, title=label, height=DOMAINS_PX))
    how = (
        "Each row is the held-out text of one domain. A row of even colour is a domain without specialists. "
        "Compare patterns, not expert numbers."
    )
    return Panel(
        subject=f"Expert load by domain: {label}, layer {settings.layer}, seed {arm.first.seed}",
        finding=captions.domain_expert_heatmap(frame),
        how=how if settings.how else "",
        spec=specs.without_legend(chart),
        table=frame,
        statements=trace.statements,
    )


def _until(frame: pl.DataFrame, settings: LayerUntil) -> pl.DataFrame:
    return frame if settings.until is None else frame.filter(pl.col("last_step") <= settings.until)


def _end(settings: LayerUntil) -> str:
    return "" if settings.until is None else f" Shown up to step {settings.until}."
