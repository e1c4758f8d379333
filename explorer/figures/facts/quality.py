"""Facts about differences between arms: seed by seed, with their intervals, and what seeds can resolve."""

import math

from explorer import metrics
from explorer.figures import pairs as arm_pairs
from explorer.figures.arms import Arm, Run
from explorer.figures.facts.recorded import MissingRun, RecordedRuns
from explorer.figures.facts.registry import COLUMNS, fact
from explorer.figures.specialisation import final_value
from explorer.metrics import power
from explorer.queries.comparison import PairedDifference
from explorer.queries.specialisation import specialisation

COURSE = ("none", "aux_loss", "aux_loss:scope=sequence", "loss_free")
"""The arms of the course. Their pairs are one family: a verdict on one of them counts all six."""


def course_arms(recorded: RecordedRuns) -> list[Arm]:
    """The arms of the course that are here."""
    arms = []
    for text in COURSE:
        try:
            arms.append(recorded.find(text))
        except MissingRun:
            continue
    return arms


@fact
def information(recorded: RecordedRuns, arm: str, which: str = "mean") -> float:
    """Mutual information of a token's assignment and its domain in bits, held-out, mean over layers (and
    seeds)."""
    values = [_information(recorded, run) for run in recorded.find(arm).runs]
    return {"mean": sum(values) / len(values), "min": min(values), "max": max(values)}[which]


@fact
def information_share(recorded: RecordedRuns, arm: str) -> float:
    """The same as a share of the entropy of the domains."""
    return float(information(recorded, arm)) / float(most_information(recorded, arm))


@fact
def information_difference(recorded: RecordedRuns, a: str, b: str) -> float:
    """Mutual information of arm a minus that of arm b in bits, mean over the seeds that both have."""
    return _information_interval(recorded, a, b)[0]


@fact
def information_half_width(recorded: RecordedRuns, a: str, b: str) -> float:
    """Half width of the 95 % t interval of the same difference."""
    return _information_interval(recorded, a, b)[1]


@fact
def information_verdict_words(recorded: RecordedRuns, a: str, b: str) -> str:
    """`significant` or `not significant`, as for `verdict`."""
    one, other, course = recorded.find(a), recorded.find(b), course_arms(recorded)

    def p_value_of(x: Arm, y: Arm) -> float | None:
        return metrics.p_value(_information_differences(recorded, x, y))

    stays = arm_pairs.survives(one, other, course, p_value_of)
    return "significant" if stays else "not significant"


def _information_interval(recorded: RecordedRuns, a: str, b: str) -> tuple[float, float]:
    differences = _information_differences(recorded, recorded.find(a), recorded.find(b))
    interval = metrics.t_interval(differences)
    if interval is None:
        raise MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    return interval


def _information_differences(recorded: RecordedRuns, a: Arm, b: Arm) -> list[float]:
    one, other = ({run.seed: run for run in arm.runs} for arm in (a, b))
    common = sorted(one.keys() & other.keys(), key=str)
    return [_information(recorded, one[seed]) - _information(recorded, other[seed]) for seed in common]


def _information(recorded: RecordedRuns, run: Run) -> float:
    bits = final_value(recorded.ask, run, "information")
    if math.isnan(bits):
        raise MissingRun(f"{run.run_id} has no held-out loads by domain recorded.")
    return bits


@fact
def most_information(recorded: RecordedRuns, arm: str) -> float:
    """The entropy of the domains in bits."""
    return float(recorded.ask(specialisation, recorded.find(arm).first)["most_information"][0])


def paired(recorded: RecordedRuns, a: str, b: str, metric: str) -> PairedDifference:
    """Seed by seed, a minus b; `metric` is a fact of an arm or a column of `queries.comparison.summary`."""
    one, other = recorded.find(a), recorded.find(b)
    return arm_pairs.paired(recorded.ask, one, other, COLUMNS.get(metric, metric))


def survives(recorded: RecordedRuns, a: str, b: str, metric: str) -> bool:
    """Whether the difference stays significant among all pairs of its family; `metric` as for `paired`."""
    p_value_of = arm_pairs.p_value_in(recorded.ask, COLUMNS.get(metric, metric))
    return arm_pairs.survives(recorded.find(a), recorded.find(b), course_arms(recorded), p_value_of)


@fact
def difference(recorded: RecordedRuns, a: str, b: str, metric: str) -> float:
    """Arm a minus arm b: the mean over pairs of seeds."""
    return _required(paired(recorded, a, b, metric).mean, a, b)


@fact
def half_width(recorded: RecordedRuns, a: str, b: str, metric: str) -> float:
    """Half width of the 95 % t interval of the same difference."""
    return _required(paired(recorded, a, b, metric).half_width, a, b)


@fact
def verdict(recorded: RecordedRuns, a: str, b: str, metric: str) -> int:
    """−1 or 1, by its sign, for a difference that is significant among all pairs of the course's arms (Holm's
    correction, 5 % in all); 0 for one that is not."""
    mean = paired(recorded, a, b, metric).mean
    if mean is None or not survives(recorded, a, b, metric):
        return 0
    return int(math.copysign(1, mean))


@fact
def verdict_words(recorded: RecordedRuns, a: str, b: str, metric: str) -> str:
    """`significant` or `not significant`, as for `verdict`."""
    return "significant" if verdict(recorded, a, b, metric) else "not significant"


@fact
def p_value(recorded: RecordedRuns, a: str, b: str, metric: str) -> float:
    """Two-sided p value of the same difference taken alone (paired t test)."""
    return _required(paired(recorded, a, b, metric).p_value, a, b)


@fact
def comparisons(recorded: RecordedRuns, a: str, b: str) -> int:
    """Number of pairs of arms that the verdict on these two is corrected for."""
    family = arm_pairs.family(recorded.find(a), recorded.find(b), course_arms(recorded))
    return arm_pairs.number_of_pairs(family)


@fact
def pairs(recorded: RecordedRuns, a: str, b: str, metric: str) -> int:
    """Number of pairs of seeds of the two arms."""
    return paired(recorded, a, b, metric).n


@fact
def spread(recorded: RecordedRuns, a: str, b: str, metric: str) -> float:
    """Standard deviation of the paired differences."""
    return spread_of(paired(recorded, a, b, metric), a, b)


def spread_of(difference: PairedDifference, a: str, b: str) -> float:
    """Standard deviation (n − 1) of the differences. Raises MissingRun for fewer than two."""
    deviation = arm_pairs.standard_deviation(list(difference.differences.values()))
    if deviation is None:
        raise MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    return deviation


@fact
def seeds_needed(recorded: RecordedRuns, a: str, b: str, metric: str, size: str) -> int:
    """Pairs of seeds that detect a true difference of this size with a power of 80 % (`metrics.power`)."""
    return power.pairs_needed(float(spread(recorded, a, b, metric)), float(size))


@fact
def seeds_needed_at_least(recorded: RecordedRuns, a: str, b: str, metric: str, size: str) -> int:
    """The same for the low end of the 95 % interval of the standard deviation."""
    differences = paired(recorded, a, b, metric)
    low, _ = power.spread_interval(spread_of(differences, a, b), differences.n)
    return power.pairs_needed(low, float(size))


@fact
def seeds_needed_at_most(recorded: RecordedRuns, a: str, b: str, metric: str, size: str) -> int:
    """The same for the high end of that interval."""
    differences = paired(recorded, a, b, metric)
    _, high = power.spread_interval(spread_of(differences, a, b), differences.n)
    return power.pairs_needed(high, float(size))


@fact
def detectable(recorded: RecordedRuns, a: str, b: str, metric: str) -> float:
    """The true difference that the pairs of these two arms detect with a power of 80 %."""
    differences = paired(recorded, a, b, metric)
    return power.detectable(spread_of(differences, a, b), differences.n)


@fact
def log_ratio(_recorded: RecordedRuns, above: str, below: str) -> float:
    """ln(above / below): two perplexities as a difference in nats."""
    return math.log(float(above) / float(below))


def _required(value: float | None, a: str, b: str) -> float:
    if value is None:
        raise MissingRun(f"{a} and {b} have too few seeds in common.")
    return value
