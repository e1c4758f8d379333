"""Metrics of arms at the end of training: the table of Compare and the cards of the Overview."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.pairs import Ask
from explorer.figures.store import Store, Trace
from explorer.metrics import t_interval
from explorer.queries import balance, comparison
from explorer.wording import counted

UNKNOWN = "–"
COLUMNS = {
    "perplexity": "perplexity",
    "MaxVio held-out": "max_vio_global",
    "worst layer": "worst_layer",
    "MaxVio last steps": "max_vio_batch",
    "effective experts": "effective_experts",
    "collapsed": "collapse",
}
"""Column of `table` -> the metric's name in the glossary."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Two metrics of an arm, means over its seeds; None where no seed has one."""

    max_vio: float | None
    """Over the last 100 steps of training, mean over layers: what a curve of MaxVio shows at its end."""
    perplexity: float | None


def headline(store: Store, arm: Arm) -> Headline:
    """The two metrics that stand for an arm."""
    summary = Trace(store).ask(comparison.summary, arm.runs)
    max_vio, perplexity = (recorded_values(summary[name]) for name in ("max_vio_batch", "perplexity"))
    return Headline(max_vio=mean(max_vio), perplexity=mean(perplexity))


def recorded_values(values: pl.Series) -> list[float]:
    """The recorded values of a metric, one per seed that has one."""
    return [float(value) for value in values.drop_nulls().to_list()]


def mean(values: Sequence[float]) -> float | None:
    """The mean over seeds; None for no seed."""
    return sum(values) / len(values) if values else None


def table(store: Store, arms: ArmSet) -> list[dict[str, str]]:
    """One row per arm, as text: "balancing", the COLUMNS with intervals over seeds, and "runs"."""
    trace = Trace(store)
    rows = []
    for arm in arms:
        summary = trace.ask(comparison.summary, arm.runs)
        rows.append(
            {
                "balancing": arms.label(arm),
                "perplexity": spread(summary["perplexity"]),
                "MaxVio held-out": spread(summary["max_vio_global"]),
                "worst layer": worst_layer(summary),
                "MaxVio last steps": spread(summary["max_vio_batch"]),
                "effective experts": spread(summary["effective_experts"]),
                "collapsed": _collapsed(trace, arm),
                "runs": arm.seeds,
            }
        )
    return rows


def worst_layer(summary: pl.DataFrame) -> str:
    """The MaxVio of each run's worst layer, averaged over seeds, and which layers these are."""
    layers = sorted({int(layer) for layer in summary["worst_layer"].drop_nulls()})
    if not layers:
        return UNKNOWN
    names = f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
    return f"{spread(summary['worst_max_vio'])} ({names})"


def _collapsed(trace: Trace, arm: Arm) -> str:
    """`2 of 4 layers`, over all seeds."""
    layers, number = collapsed_layers(trace.ask, arm)
    return f"{number} of {counted(layers, 'layer')}" if layers else UNKNOWN


def collapsed_layers(ask: Ask, arm: Arm) -> tuple[int, int]:
    """Layers over all seeds, and how many of them have ever collapsed."""
    collapsed: pl.Series = ask(balance.layer_balance, arm.runs)["collapsed"].drop_nulls()
    return len(collapsed), int(collapsed.sum())


def spread(values: pl.Series) -> str:
    """Mean ± half width of the 95 % t interval over seeds; the value alone for one run."""
    seeds = recorded_values(values)
    if not seeds:
        return UNKNOWN
    odd = sum(not math.isfinite(value) for value in seeds)
    if odd:
        return "not finite" if len(seeds) == 1 else f"not finite in {odd} of {counted(len(seeds), 'seed')}"
    interval = t_interval(seeds)
    digits = 0 if abs(seeds[0]) >= 1000 else 2 if abs(seeds[0]) >= 1 else 3
    if interval is None:
        return f"{seeds[0]:,.{digits}f}"
    return f"{interval[0]:,.{digits}f} ± {interval[1]:,.{digits}f}"
