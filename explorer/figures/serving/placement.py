"""Imbalance of experts, GPUs and nodes; a placement by node; its verdict on a later window."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts import serving_placement as charts
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.serving.hot_set import place_of
from explorer.figures.serving.settings import Layout, Placed, PlacedLayer
from explorer.figures.serving.windows import Window, has_counts, has_seen, pair_of
from explorer.figures.store import Store, Trace
from explorer.routing import placement, verdict
from explorer.routing.placement import Loads, Slots
from explorer.wording import counted, percent

LEVELS_HOW = (
    "Experts are placed on GPUs in the order of their indices. Loads add up on a GPU and on a node, so "
    "imbalance partly cancels; every layer waits for what remains."
)
SLOTS_HOW = (
    "One segment per expert copy, stacked by GPU; pale bands mark every second node, the dashed line an even "
    "share. Copies of an expert are taken to share its tokens evenly."
)
VERDICT_HOW = (
    "A layer takes as long as its busiest GPU; 1 is the time of balanced GPUs. The gap between the planned "
    "dot and the tick is what changed between the windows."
)

ONE_COUNT = (
    "Window B is one count: if it sums several batches, each of them is less even, so both times are lower "
    "bounds."
)


def planned(loads_LE: NDArray[np.int64], layout: Layout) -> Slots:
    """EPLB's placement of these loads on this layout."""
    return placement.plan(
        loads_LE,
        slots=layout.slots(loads_LE.shape[1]),
        gpus=layout.gpus,
        nodes=layout.nodes,
        groups=layout.groups,
        policy=layout.policy,
    )


def contiguous_slots(loads_LE: NDArray[np.int64], layout: Layout) -> Slots:
    """Experts in the order of their indices, whatever the loads."""
    num_layers, num_experts = loads_LE.shape
    return placement.contiguous(num_layers, num_experts, layout.gpus)


def gpu_loads_of(slots_LP: Slots, counts_LE: NDArray[np.int64], layout: Layout) -> Loads:
    """Load of every GPU, [L, G], if all counts came in one batch."""
    shares = placement.gpu_shares(slots_LP, counts_LE.shape[1], layout.gpus)
    return np.asarray(placement.gpu_loads(shares, counts_LE[None])[0])


def levels(store: Store, arms: ArmSet, settings: Placed) -> Panel:
    """Busiest over uniform load of experts, GPUs and nodes in window A, experts placed contiguously."""
    trace = Trace(store)
    runs = arms.first_runs
    plan, _ = pair_of(trace, runs, settings.pair)
    counts, layout = plan.counts, settings.layout
    gpu_LG = gpu_loads_of(contiguous_slots(counts, layout), counts, layout)
    node_LN = gpu_LG.reshape(len(counts), layout.nodes, -1).sum(-1)
    parts, means = [], []
    for level, loads in {"expert": counts, "GPU": gpu_LG, "node": node_LN}.items():
        if loads.shape[1] == 1:
            continue
        ratio = loads.max(-1) * loads.shape[1] / np.maximum(1, loads.sum(-1))
        parts.append(pl.DataFrame({"layer": list(runs[0].layers), "level": level, "ratio": ratio}))
        means.append(f"{level} {ratio.mean():.2f}×")
    frame = pl.concat(parts)
    return Panel(
        subject=f"Imbalance of experts, GPUs and nodes, {plan.label}",
        finding=f"Busiest over uniform load, mean of {counted(len(counts), 'layer')}: {', '.join(means)}.",
        how=LEVELS_HOW,
        spec=specs.make(charts.levels(frame, list(runs[0].layers))),
        table=frame,
        statements=trace.statements,
    )


def before(store: Store, arms: ArmSet, settings: PlacedLayer) -> Panel:
    """Load of every GPU in window B with experts placed contiguously."""
    trace = Trace(store)
    plan, judge = pair_of(trace, arms.first_runs, settings.pair)
    slots = contiguous_slots(plan.counts[:1], settings.layout)[0]
    return _slots_panel(trace, arms.first_runs, settings, judge, slots, "contiguous")


def after(store: Store, arms: ArmSet, settings: PlacedLayer) -> Panel:
    """Load of every GPU in window B with the placement planned on window A."""
    trace = Trace(store)
    plan, judge = pair_of(trace, arms.first_runs, settings.pair)
    place = place_of(arms.first_runs[0], settings.layer)
    slots = planned(plan.counts[place : place + 1], settings.layout)[0]
    return _slots_panel(trace, arms.first_runs, settings, judge, slots, f"EPLB, {settings.layout.policy}")


def _slots_panel(
    trace: Trace,
    runs: Sequence[Run],
    settings: PlacedLayer,
    judge: Window,
    slots_P: NDArray[np.int64],
    name: str,
) -> Panel:
    layout, layer = settings.layout, settings.layer
    counts = judge.counts[place_of(runs[0], layer)]
    frame = slot_rows(slots_P, counts, layout)
    contiguous = gpu_loads_of(contiguous_slots(counts[None], layout), counts[None], layout)[0]
    busiest = float(frame["upper"].to_numpy().max())
    highest = max(float(contiguous.max() * layout.gpus / max(1, counts.sum())), busiest)
    copied = int((np.bincount(slots_P, minlength=len(counts)) > 1).sum())
    twice = int(placement.wasted_slots(slots_P[None], layout.gpus)[0])
    finding = (
        f"Layer {layer}, {judge.label}, all counts of the window summed: the busiest GPU carries "
        f"{busiest:.2f}× the mean."
    )
    if len(slots_P) > len(counts):
        finding += f" Experts with several copies: {copied} of {len(counts)}."
    if twice:
        shares = "copy shares" if twice == 1 else "copies share"
        finding += f" {twice} {shares} a GPU with another copy of the same expert, which is wasted memory."
    return Panel(
        subject=f"Load by GPU, layer {layer}, {name}",
        finding=finding,
        how=SLOTS_HOW,
        spec=specs.make(charts.slots(frame, layout.gpus, layout.nodes, top=highest * 1.04)),
        table=frame,
        statements=trace.statements,
    )


def slot_rows(slots_P: NDArray[np.int64], counts_E: NDArray[np.int64], layout: Layout) -> pl.DataFrame:
    """One row per expert copy: gpu, node, expert, copies, load (over the mean GPU's), bottom and upper."""
    gpus = layout.gpus
    copies = np.bincount(slots_P, minlength=len(counts_E))
    load = counts_E / np.maximum(copies, 1) * gpus / max(1, int(counts_E.sum()))
    gpu = np.arange(len(slots_P)) // (len(slots_P) // gpus)
    frame = pl.DataFrame(
        {
            "gpu": gpu,
            "node": gpu // (gpus // layout.nodes),
            "expert": slots_P,
            "copies": copies[slots_P],
            "load": load[slots_P],
        }
    )
    upper = pl.col("load").cum_sum().over("gpu")
    return frame.sort("gpu", "load", "expert", descending=[False, True, False]).with_columns(
        bottom=upper - pl.col("load"), upper=upper
    )


def verdict_panel(store: Store, arms: ArmSet, settings: Placed) -> Panel:
    """Whether the placement planned on window A would have paid on window B."""
    trace, runs, layout = Trace(store), arms.first_runs, settings.layout
    plan, judge = pair_of(trace, runs, settings.pair)
    experts = plan.counts.shape[1]

    def shares(slots_LP: Slots) -> Loads:
        return placement.gpu_shares(slots_LP, experts, layout.gpus)

    judged = verdict.judge(
        shares(contiguous_slots(plan.counts, layout)),
        shares(planned(plan.counts, layout)),
        plan.counts,
        judge.tokens,
        least=settings.least,
        is_other_window=not has_seen(runs, plan, judge),
        are_counts=all(has_counts(run) for run in runs),
    )
    best = placement.gpu_loads(shares(planned(judge.counts, layout)), judge.tokens)
    frame = pl.DataFrame(
        {
            "layer": list(runs[0].layers),
            "before": judged.before_L,
            "after": judged.after_L,
            "hindsight": placement.time_over_balanced(best),
        }
    )
    return Panel(
        subject="Modelled time of the MoE layers, with and without the placement",
        finding=verdict_text(judged, plan, judge, settings),
        how=VERDICT_HOW,
        spec=specs.make(charts.times(frame, list(runs[0].layers))),
        table=frame,
        statements=trace.statements,
    )


def verdict_text(judged: verdict.Judgement, plan: Window, judge: Window, settings: Placed) -> str:
    """The answer, a colon, and the modelled time, the interval and the memory."""
    layout, experts = settings.layout, plan.counts.shape[1]
    extra = layout.slots(experts) - experts
    reason = ""
    if not judged.is_other_window and plan.key != judge.key:
        reason = "window A contains window B, so the plan has seen the data it is judged on; "
    elif not judged.is_other_window:
        reason = "there is only one window, so choose another run to judge on; "
    elif not judged.are_counts:
        reason = "the loads are shares, and the tokens behind them are unknown; "
    elif not judged.is_large_enough:
        reason = f"a window has fewer than {verdict.LEAST_PER_EXPERT} assignments per expert; "
    noise = "" if judged.is_by_batch else ", from counting noise alone"
    summed = "" if len(judge.tokens) > 1 else f" {ONE_COUNT}"
    better = int((judged.after_L < judged.before_L).sum())
    answer = judged.answer[0].upper() + judged.answer[1:]
    copies = counted(extra, "extra expert copy", "extra expert copies")
    return (
        f"{answer}: {reason}planned on {plan.label} and judged on {judge.label}, the busiest GPU goes from "
        f"{judged.before:.2f}× to {judged.after:.2f}× the mean, averaged over "
        f"{counted(len(judged.before_L), 'layer')}. {_change(judged)}{noise}). "
        f"{counted(better, 'layer')} of {len(judged.before_L)} {'gets' if better == 1 else 'get'} faster. "
        f"The placement needs {copies} per layer, {percent(extra / experts, 1)} more expert weights.{summed}"
    )


def _change(judged: verdict.Judgement) -> str:
    """What becomes of the modelled time, with its interval, up to what the interval covers."""
    if judged.saving < 0:
        low, high = _percent(-judged.high), _percent(-judged.low)
        return f"That adds {_percent(-judged.saving)} to the modelled time (95 % CI {low} to {high}"
    low, high = _percent(judged.low), _percent(judged.high)
    return f"That saves {_percent(judged.saving)} of the modelled time (95 % CI {low} to {high}"


def _percent(share: float) -> str:
    """`−1.2 %`"""
    return percent(share, 1).replace("-", "−")


def rule_text(least: float) -> str:
    """How the answer follows from the counts."""
    return (
        f"Worth it: the whole 95 % interval of the saving is at or above {percent(least)}. Not worth it: "
        f"all of it is below. Too little evidence: the interval contains {percent(least)}, a window has "
        f"fewer than {verdict.LEAST_PER_EXPERT} assignments per expert, there is no second window to judge "
        f"on, window A contains window B, or the loads are shares. With {verdict.LEAST_BATCHES} or more "
        "batches, blocks of consecutive batches are resampled with replacement; with fewer, every count is "
        "resampled as if tokens were independent, and the interval does not cover differences between "
        "workloads. Only the experts' compute is modelled, not communication or weight migration."
    )
