"""Measures of two runs together, where a difference of two numbers does not say it."""

from collections.abc import Callable, Mapping

from explorer.evidence.results import Row

PairMeasure = Callable[[Row, Row], float | None]


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
