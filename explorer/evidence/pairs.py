"""Measures that rows do not hold as a number: of one run's series, or of two runs together."""

from collections.abc import Callable, Mapping
from statistics import fmean

from explorer.evidence.results import Row

PairMeasure = Callable[[Row, Row], float | None]
RowMeasure = Callable[[Row], float | None]


def steps_ahead(arm: Row, base: Row) -> float | None:
    """Share of the training after the bias's warm-up in which `arm` has the lower MaxVio batch.

    Both series are means over the same bins of steps. The warm-up takes spread / (2u) steps.
    """
    bins = min(len(arm.series), len(base.series))
    skipped = _warm_up(arm) * bins
    pairs = list(zip(arm.series, base.series, strict=False))[int(skipped) :]
    return sum(a < b for a, b in pairs) / len(pairs) if pairs else None


def _warm_up(row: Row) -> float:
    """spread / (2u) as a share of the steps; 0 without a bias, at most a half."""
    rules = row.config["balancer"]["rules"]
    rate = next((rule["bias_update_rate"] for rule in rules if "bias_update_rate" in rule), 0.0)
    spread = row.metrics.get("bias_spread")
    if not rate or spread is None:
        return 0.0
    return float(min(0.5, spread / (2 * rate) / row.config["training"]["num_steps"]))


PAIR_MEASURES: Mapping[str, PairMeasure] = {"steps_ahead": steps_ahead}
"""Name -> measure of the first and the second arm of a contrast."""


def surge(row: Row) -> float | None:
    """How far MaxVio batch rises above its start, the first bin of the series; None without loads."""
    return max(row.series) - row.series[0] if row.series else None


def relaxation(row: Row) -> float | None:
    """MaxVio batch of the last tenth of the training minus that of the start; None without loads."""
    tenth = max(1, len(row.series) // 10)
    return fmean(row.series[-tenth:]) - row.series[0] if row.series else None


ROW_MEASURES: Mapping[str, RowMeasure] = {"surge": surge, "relaxation": relaxation}
"""Name -> measure of the recorded series of one run."""


def metric_of(row: Row, name: str) -> float | None:
    """A metric of a row, recorded or from its series."""
    measure = ROW_MEASURES.get(name)
    return row.metrics.get(name) if measure is None else measure(row)
