"""Metrics of arms at the end of training: the table of Compare and the cards of the Overview."""

import math
from dataclasses import dataclass

import polars as pl

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
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
    return Headline(max_vio=_mean(summary["max_vio_batch"]), perplexity=_mean(summary["perplexity"]))


def _mean(values: pl.Series) -> float | None:
    known = [float(value) for value in values.drop_nulls().to_list()]
    return sum(known) / len(known) if known else None


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
    """How many layers have ever collapsed, over all seeds."""
    collapsed = trace.ask(balance.layer_balance, arm.runs)["collapsed"].drop_nulls()
    return f"{int(collapsed.sum())} of {counted(len(collapsed), 'layer')}" if len(collapsed) else UNKNOWN


def spread(values: pl.Series) -> str:
    """Mean ± half width of the 95 % t interval over seeds; the value alone for one run."""
    known = [float(value) for value in values.drop_nulls().to_list()]
    if not known:
        return UNKNOWN
    odd = sum(not math.isfinite(value) for value in known)
    if odd:
        return "not finite" if len(known) == 1 else f"not finite in {odd} of {counted(len(known), 'seed')}"
    interval = t_interval(known)
    digits = 0 if abs(known[0]) >= 1000 else 2 if abs(known[0]) >= 1 else 3
    if interval is None:
        return f"{known[0]:,.{digits}f}"
    return f"{interval[0]:,.{digits}f} ± {interval[1]:,.{digits}f}"
