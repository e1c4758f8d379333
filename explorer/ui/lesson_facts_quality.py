"""Facts about differences between arms: seed by seed, with their intervals, and what seeds can resolve."""

import math
from collections.abc import Callable, Sequence

import polars as pl

from explorer import metrics
from explorer.metrics import power
from explorer.queries.comparison import PairedDifference
from explorer.ui import cached, lesson_runs
from explorer.ui.lesson_fact_registry import FIGURES, fact


@fact
def information(arm: str, which: str = "mean") -> float:
    """Bits that an assignment says about the domain of its token, held-out, mean over layers (and seeds)."""
    values = [_information(arm, run.seed) for run in lesson_runs.find(arm).runs]
    return {"mean": sum(values) / len(values), "min": min(values), "max": max(values)}[which]


@fact
def information_share(arm: str) -> float:
    """Those bits as a share of all that the domains have."""
    return float(information(arm)) / float(most_information(arm))


@fact
def information_difference(a: str, b: str) -> float:
    """Bits of arm a minus bits of arm b, mean over the seeds that both have."""
    return _information_interval(a, b)[0]


@fact
def information_half_width(a: str, b: str) -> float:
    """Half width of the 95 % t interval of that difference."""
    return _information_interval(a, b)[1]


@fact
def information_verdict_words(a: str, b: str) -> str:
    """`significant` or `not significant`, as for `verdict`."""
    return "significant" if _survives(a, b, _information_differences) else "not significant"


def _information_interval(a: str, b: str) -> tuple[float, float]:
    interval = metrics.t_interval(_information_differences(a, b))
    if interval is None:
        raise lesson_runs.MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    return interval


def _information_differences(a: str, b: str) -> list[float]:
    common = [{run.seed for run in lesson_runs.find(arm).runs} for arm in (a, b)]
    return [_information(a, s) - _information(b, s) for s in sorted(set.intersection(*common), key=str)]


MAIN = ("none", "aux_loss", "aux_loss:scope=sequence", "loss_free")
"""The arms of the course. Their pairs are one family: a verdict on one of them counts all six."""


def family(a: str, b: str) -> list[str]:
    """The arms whose pairs a verdict on a and b is corrected for: all of the course's arms that are here, or
    these two if one of them is another arm."""
    if not {a, b} <= set(MAIN):
        return [a, b]
    return [arm for arm in MAIN if arm in (a, b) or _is_here(arm)]


def number_of_pairs(arms: Sequence[str]) -> int:
    """How many pairs so many arms make."""
    return math.comb(len(arms), 2)


def _is_here(arm: str) -> bool:
    try:
        return len(lesson_runs.find(arm).runs) > 1
    except lesson_runs.MissingRun:
        return False


def _survives(a: str, b: str, differences: Callable[[str, str], Sequence[float]]) -> bool:
    """Whether the difference of a and b stays significant among all pairs of its family (Holm)."""
    verdicts = metrics.pair_verdicts(family(a, b), lambda x, y: metrics.p_value(differences(x, y)))
    return verdicts.survives(a, b)


def survives(a: str, b: str, metric: str) -> bool:
    """The same for a figure; `metric` as for `paired`."""
    return _survives(a, b, lambda x, y: list(paired(x, y, metric).differences.values()))


def _information(arm: str, seed: int | None) -> float:
    found = cached.specialisation(lesson_runs.find(arm, seed).first.version)
    last = found.filter(pl.col("step") == pl.col("step").max())
    return float(last["information"].mean())  # type: ignore[arg-type]


@fact
def most_information(arm: str) -> float:
    """The bits that the domains have in all."""
    return float(cached.specialisation(lesson_runs.find(arm).first.version)["most_information"][0])


def paired(a: str, b: str, metric: str) -> PairedDifference:
    """Seed by seed, a minus b; `metric` is a fact of an arm or a column of `queries.summary`."""
    one, other = (cached.versions(lesson_runs.find(arm).runs) for arm in (a, b))
    return cached.paired(one, other, FIGURES.get(metric, metric))


@fact
def difference(a: str, b: str, metric: str) -> float:
    """Mean over pairs of seeds: arm a minus arm b."""
    return _known(paired(a, b, metric).mean, a, b)


@fact
def half_width(a: str, b: str, metric: str) -> float:
    """Half width of the 95 % t interval of that difference."""
    return _known(paired(a, b, metric).half_width, a, b)


@fact
def verdict(a: str, b: str, metric: str) -> int:
    """−1 or 1, by its sign, for a difference that is significant among all pairs of the course's arms (Holm's
    correction, 5 % in all); 0 for one that is not."""
    found = paired(a, b, metric)
    return int(math.copysign(1, found.mean)) if found.mean is not None and survives(a, b, metric) else 0


@fact
def verdict_words(a: str, b: str, metric: str) -> str:
    """`significant` or `not significant`, as for `verdict`."""
    return "significant" if verdict(a, b, metric) else "not significant"


@fact
def p_value(a: str, b: str, metric: str) -> float:
    """Two-sided p value of that difference taken alone (paired t test)."""
    return _known(paired(a, b, metric).p_value, a, b)


@fact
def comparisons(a: str, b: str) -> int:
    """How many pairs of arms the verdict on these two is corrected for."""
    return number_of_pairs(family(a, b))


@fact
def pairs(a: str, b: str, metric: str) -> int:
    """How many pairs of seeds the two arms have."""
    return paired(a, b, metric).n


@fact
def spread(a: str, b: str, metric: str) -> float:
    """Standard deviation of the paired differences."""
    return spread_of(paired(a, b, metric), a, b)


def spread_of(found: PairedDifference, a: str, b: str) -> float:
    """Standard deviation (n − 1) of the differences; needs two."""
    values = list(found.differences.values())
    if len(values) < 2:
        raise lesson_runs.MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


@fact
def seeds_needed(a: str, b: str, metric: str, size: str) -> int:
    """Pairs that find a true difference of this size with a chance of 80 % (`metrics.power`)."""
    return power.pairs_needed(float(spread(a, b, metric)), float(size))


@fact
def seeds_needed_at_least(a: str, b: str, metric: str, size: str) -> int:
    """The same with the low end of the 95 % interval of the standard deviation."""
    found = paired(a, b, metric)
    low, _ = power.spread_interval(spread_of(found, a, b), found.n)
    return power.pairs_needed(low, float(size))


@fact
def seeds_needed_at_most(a: str, b: str, metric: str, size: str) -> int:
    """The same with its high end."""
    found = paired(a, b, metric)
    _, high = power.spread_interval(spread_of(found, a, b), found.n)
    return power.pairs_needed(high, float(size))


@fact
def detectable(a: str, b: str, metric: str) -> float:
    """The true difference that as many pairs as there are find with a chance of 80 %."""
    found = paired(a, b, metric)
    return power.detectable(spread_of(found, a, b), found.n)


@fact
def log_ratio(above: str, below: str) -> float:
    """ln(above / below): two perplexities as a difference in nats."""
    return math.log(float(above) / float(below))


def _known(value: float | None, a: str, b: str) -> float:
    if value is None:
        raise lesson_runs.MissingRun(f"{a} and {b} have too few seeds in common.")
    return value
