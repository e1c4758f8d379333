"""Load of the experts by window, the share that the busiest hold, whether they stay, and how it is spread."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts import serving as charts
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel
from explorer.figures.serving.settings import InWindows
from explorer.figures.serving.windows import HELD_OUT, Window, pair_of, windows
from explorer.figures.store import Store, Trace
from explorer.metrics.popularity import (
    LEAST_EXPERTS,
    LogNormalFit,
    coverage,
    hot_set_overlap,
    log_normal_fit,
    quantile_points,
)
from explorer.wording import counted, percent

MOST_STRIPS = 12
NEARLY_EQUAL = 0.05
"""σ of ln(load) below which the busiest of a hundred experts has less than 1.15 times the mean."""
CURVE_POINTS = 25
"""Points of one layer's coverage curve at equal, and again at equal logarithmic, distances."""
STRIPS_HOW = (
    "One strip per window; every strip has the experts in the order of the first one. Orange is overloaded, "
    "purple under-loaded; a strip that keeps the gradient has kept the hot experts."
)
COVERAGE_HOW = (
    "Experts sorted by load, busiest first; the further a curve bends above the dashed line, the hotter the "
    "hot set. The dotted line marks its size. Bold: the selected layer, faint: the others."
)
PERSISTENCE_HOW = (
    "Share of the busiest experts of one window that are among the busiest of the next. The dashed line is "
    "what two random sets would share; the bar spans all pairs of consecutive windows."
)
QUANTILES_HOW = (
    "Experts sorted by load against the quantiles of a normal distribution, load on a logarithmic axis: a "
    "log-normal is a straight line. σ leaves out the spread that counting alone explains."
)


def place_of(run: Run, layer: int) -> int:
    """Position of a layer among a run's MoE layers."""
    return list(run.layers).index(layer)


def by_window(store: Store, arms: ArmSet, settings: InWindows) -> Panel:
    """Load of one layer's experts in every window of the first run, and in window B of the last."""
    runs, trace = arms.first_runs, Trace(store)
    plan, judge = pair_of(trace, runs, settings.pair)
    own = windows(trace, runs[0], settings.pair.number)
    is_one_run = runs[0] == runs[-1]
    ends = (settings.pair.plan, settings.pair.judge) if is_one_run else (settings.pair.plan,)
    others = [window for key, window in own.items() if key not in ends]
    named = [replace(plan, label=f"A: {plan.label}")]
    if not is_one_run or settings.pair.judge != settings.pair.plan:
        named.append(replace(judge, label=f"B: {judge.label}"))
    strips = [*named, *others][:MOST_STRIPS]
    place, num_experts = place_of(runs[0], settings.layer), runs[0].num_experts
    order = np.argsort(-plan.counts[place], kind="stable")
    frame = pl.concat(_strip(window, window.counts[place], order) for window in strips)
    stay = _overlap(plan.counts[place], judge.counts[place], settings.hot)
    top = plan.counts[place].max() * num_experts / max(1, int(plan.counts[place].sum()))
    finding = (
        f"Layer {settings.layer}, {plan.label}: the busiest expert has {top:.2f}× the uniform load. {stay} "
        f"in {judge.label}.{_by_domain(own, place, top)}"
    )
    labels = [window.label for window in strips]
    return Panel(
        subject=f"Expert load by window, layer {settings.layer}",
        finding=finding,
        how=STRIPS_HOW,
        spec=specs.make(charts.strips(frame, labels)),
        on_page=specs.without_legend(specs.make(charts.strips(frame, labels, stays=True))),
        table=frame,
        statements=trace.statements,
    )


def _by_domain(own: Mapping[str, Window], place: int, top: float) -> str:
    """Between what single domains lie, where the run has several; empty otherwise.

    top: busiest over uniform load of window A, which not every domain exceeds.
    """
    peaks = {
        window.label: float(window.counts[place].max() / max(1e-9, window.counts[place].mean()))
        for key, window in own.items()
        if key.startswith(f"{HELD_OUT} ")
    }
    if len(peaks) < 2:
        return ""
    low, high = min(peaks, key=peaks.__getitem__), max(peaks, key=peaks.__getitem__)
    if f"{peaks[low]:.1f}" == f"{peaks[high]:.1f}":
        return f" Within every single domain, the busiest expert gets {peaks[low]:.1f}× the uniform load."
    ends = f"{peaks[low]:.1f}× ({low}) to {peaks[high]:.1f}× ({high})"
    return f" Within a single domain, the busiest expert gets {'more: ' if peaks[low] > top else ''}{ends}."


def _strip(window: Window, counts_E: NDArray[np.int64], order: NDArray[np.int64]) -> pl.DataFrame:
    mean = counts_E.mean()
    return pl.DataFrame(
        {
            "window": [window.label] * len(order),
            "rank": np.arange(1, len(order) + 1),
            "expert": order,
            "tokens": counts_E[order],
            "load_ratio": counts_E[order] / mean if mean else np.zeros(len(order)),
        }
    )


def _overlap(first_E: NDArray[np.int64], second_E: NDArray[np.int64], hot: int) -> str:
    """`17 of its 32 busiest are among the 32 busiest`"""
    overlap = round(float(hot_set_overlap(first_E, second_E, hot)) * hot)
    if hot == 1:
        return f"It is {'also' if overlap else 'not'} the busiest"
    return f"{overlap} of its {hot} busiest experts are among the {hot} busiest"


def coverage_curve(store: Store, arms: ArmSet, settings: InWindows) -> Panel:
    """Share of the load that the busiest n experts of window A hold, per layer."""
    runs, trace = arms.first_runs, Trace(store)
    plan, _ = pair_of(trace, runs, settings.pair)
    run, experts = runs[0], runs[0].num_experts
    curves = coverage(plan.counts)
    # Dense where curves bend.
    numbers = np.unique(np.round(experts ** np.linspace(0, 1, CURVE_POINTS)).astype(int))
    numbers = np.union1d(numbers, np.round(np.linspace(1, experts, CURVE_POINTS)).astype(int))
    frame = pl.concat(
        pl.DataFrame(
            {
                "layer": [layer] * (len(numbers) + 1),
                "number": [0, *numbers.tolist()],
                "share_of_experts": [0.0, *(numbers / experts).tolist()],
                "share_of_load": [0.0, *np.nan_to_num(curves[place, numbers - 1]).tolist()],
            }
        )
        for place, layer in enumerate(run.layers)
    )
    held = curves[:, settings.hot - 1]
    here = held[place_of(run, settings.layer)]
    others = (
        f" Over all {counted(len(held), 'layer')}: {percent(np.nanmin(held), 1)} to "
        f"{percent(np.nanmax(held), 1)}."
        if len(held) > 1
        else ""
    )
    return Panel(
        subject=f"Coverage: load that the busiest experts hold, {plan.label}",
        finding=(
            f"In layer {settings.layer} the busiest {settings.hot} of {experts} experts "
            f"({percent(settings.hot / experts, 1)}) hold {percent(here, 1)} of the load.{others}"
        ),
        how=COVERAGE_HOW,
        spec=specs.make(charts.coverage(frame, settings.layer, settings.hot / experts)),
        table=frame,
        statements=trace.statements,
    )


def persistence(store: Store, arms: ArmSet, settings: InWindows) -> Panel | Missing:
    """Overlap of the hot sets of consecutive windows, per layer; of windows A and B for a single snapshot."""
    runs, trace = arms.first_runs, Trace(store)
    subject = f"Persistence of the {_set_text(settings.hot)}"
    pairs = _consecutive(trace, runs, settings)
    if not pairs:
        reason = "This run has one window; choose another run to judge on, or more windows."
        return Missing(subject=subject, reason=reason)
    overlaps = np.stack([hot_set_overlap(a.counts, b.counts, settings.hot) for a, b in pairs])
    run, chance = runs[0], settings.hot / runs[0].num_experts
    frame = pl.DataFrame(
        {
            "layer": list(run.layers),
            "mean": overlaps.mean(0),
            "low": overlaps.min(0),
            "high": overlaps.max(0),
        }
    )
    what = (
        f"from {pairs[0][0].label} to {pairs[0][1].label}"
        if len(pairs) == 1
        else f"over {len(pairs)} pairs of consecutive windows"
    )
    here = float(frame["mean"][place_of(run, settings.layer)])
    return Panel(
        subject=subject,
        finding=(
            f"{_kept_text(settings.hot, float(overlaps.mean()))} {what}; chance alone gives "
            f"{percent(chance)}. In layer {settings.layer}: {percent(here)}."
        ),
        how=PERSISTENCE_HOW,
        spec=specs.make(charts.persistence(frame, list(run.layers), chance, settings.layer)),
        table=frame,
        statements=trace.statements,
    )


def _set_text(hot: int) -> str:
    """`8 busiest experts`"""
    return "busiest expert" if hot == 1 else f"{hot} busiest experts"


def _kept_text(hot: int, share: float) -> str:
    """The beginning of the sentence on the share of the hot set that stays."""
    if hot == 1:
        return f"The busiest expert of a layer stays the busiest in {percent(share)} of cases"
    return f"On average {percent(share)} of a layer's {hot} busiest experts stay among its {hot} busiest"


def _consecutive(trace: Trace, runs: Sequence[Run], settings: InWindows) -> list[tuple[Window, Window]]:
    """Consecutive windows of steps; else A and B."""
    own = windows(trace, runs[0], settings.pair.number)
    steps = [window for key, window in own.items() if key.isdecimal()]
    if len(steps) > 1:
        return list(pairwise(steps))
    plan, judge = pair_of(trace, runs, settings.pair)
    return [(plan, judge)] if (runs[0].run_id, plan.key) != (runs[-1].run_id, judge.key) else []


def popularity(store: Store, arms: ArmSet, settings: InWindows) -> Panel | Missing:
    """Q-Q plot of the loads of one layer in window A, with a log-normal fit for every layer."""
    runs, trace = arms.first_runs, Trace(store)
    plan, _ = pair_of(trace, runs, settings.pair)
    run = runs[0]
    subject = f"Log-normal fit of expert popularity, layer {settings.layer}"
    fits = [log_normal_fit(row) for row in plan.counts]
    counts = plan.counts[place_of(run, settings.layer)]
    fit = fits[place_of(run, settings.layer)]
    if fit is None:
        reason = f"A fit needs at least {LEAST_EXPERTS} experts with tokens and unequal loads."
        return Missing(subject=subject, reason=reason)
    x, logs = quantile_points(counts)
    points = pl.DataFrame(
        {
            "quantile": x,
            "load_ratio": np.exp(logs),
            "expert": np.argsort(counts, kind="stable")[(counts == 0).sum() :],
        }
    )
    ends = np.array([x[0], x[-1]])
    line = pl.DataFrame({"quantile": ends, "load_ratio": np.exp(fit.centre + fit.spread * ends)})
    return Panel(
        subject=subject,
        finding=_fit_text(settings.layer, fit, fits),
        how=QUANTILES_HOW,
        spec=specs.make(charts.quantiles(points, line)),
        table=_fit_table(run, fits),
        statements=trace.statements,
    )


def _fit_text(layer: int, fit: LogNormalFit, fits: list[LogNormalFit | None]) -> str:
    verdict = "a log-normal is rejected" if fit.is_rejected else "a log-normal is not rejected"
    layer_fits = [one for one in fits if one is not None]
    idle = f" {counted(fit.num_idle, 'expert')} without tokens left out." if fit.num_idle else ""
    all_layers = ""
    if len(layer_fits) > 1:
        accepted = sum(not one.is_rejected for one in layer_fits)
        low, high = min(one.sigma for one in layer_fits), max(one.sigma for one in layer_fits)
        all_layers = (
            f" Over all layers σ is {low:.2f} to {high:.2f}, and a log-normal is not rejected in {accepted} "
            f"of {len(layer_fits)}."
        )
    p_value = "p < 0.001" if fit.p_value < 0.001 else f"p = {fit.p_value:.3f}"
    if fit.sigma < NEARLY_EQUAL:
        words = f"the loads are nearly equal (σ = {fit.sigma:.2f}), so their shape says little"
    else:
        words = f"σ = {fit.sigma:.2f}; {verdict}"
    return (
        f"Layer {layer}: {words} (Shapiro-Francia {p_value}; Q-Q correlation {fit.fit_r:.3f})."
        f"{idle}{all_layers}"
    )


def _fit_table(run: Run, fits: list[LogNormalFit | None]) -> pl.DataFrame:
    names = ("sigma", "spread", "centre", "fit_r", "p_value", "num_idle")
    columns = {name: [None if one is None else getattr(one, name) for one in fits] for name in names}
    return pl.DataFrame({"layer": list(run.layers), **columns})
