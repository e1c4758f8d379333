"""Differences between two arms, seed by seed, and which of them are significant among all pairs of arms."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from explorer import metrics
from explorer.figures.arms import Arm
from explorer.queries import comparison
from explorer.queries.comparison import PairedDifference

Ask = Callable[..., Any]
"""`Trace.ask`, or anything that is called the same way."""
PValue = Callable[[Arm, Arm], float | None]
"""The p value of the paired differences of two arms; None for fewer than two pairs."""


def paired(ask: Ask, a: Arm, b: Arm, metric: str) -> PairedDifference:
    """Arm a minus arm b over their common seeds; metric: a column of `queries.comparison.summary`."""
    by_metric: dict[str, PairedDifference] = ask(comparison.paired_metrics, a.runs, b.runs)
    return by_metric[metric]


def standard_deviation(values: Sequence[float]) -> float | None:
    """With n − 1 in the denominator; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def p_value_in(ask: Ask, metric: str) -> PValue:
    """The p values of one metric, as `verdicts` takes them."""
    return lambda a, b: paired(ask, a, b, metric).p_value


def verdicts(arms: Iterable[Arm], p_value: PValue) -> metrics.PairVerdicts:
    """Which of all pairs of these arms differ significantly (Holm's correction), by their tokens."""
    by_token = {arm.token: arm for arm in arms}
    return metrics.pair_verdicts(list(by_token), lambda a, b: p_value(by_token[a], by_token[b]))


def family(a: Arm, b: Arm, course: Sequence[Arm]) -> list[Arm]:
    """The arms whose pairs a verdict on a and b is corrected for.

    The course's arms with several seeds if a and b are among them, else these two alone.
    """
    pair = {a.token, b.token}
    if not pair <= {arm.token for arm in course}:
        return [a, b]
    return [arm for arm in course if arm.token in pair or arm.is_group]


def number_of_pairs(arms: Sequence[Arm]) -> int:
    """How many pairs so many arms make."""
    return math.comb(len(arms), 2)


def survives(a: Arm, b: Arm, course: Sequence[Arm], p_value: PValue) -> bool:
    """Whether the difference of a and b stays significant among all pairs of its family."""
    return verdicts(family(a, b, course), p_value).survives(a.token, b.token)
