"""Differences between two arms, seed by seed, and the pairs that one verdict is corrected for."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from explorer import metrics
from explorer.figures.arms import Arm
from explorer.queries import comparison
from explorer.queries.comparison import PairedDifference

Ask = Callable[..., Any]
"""`Trace.ask`, or anything that is called the same way."""
Pair = tuple[Arm, Arm]


def paired(ask: Ask, a: Arm, b: Arm, metric: str) -> PairedDifference:
    """Arm a minus arm b over their common seeds; metric: a column of `queries.comparison.summary`."""
    result: PairedDifference = ask(comparison.paired, a.runs, b.runs, metric)
    return result


def standard_deviation(values: Sequence[float]) -> float | None:
    """With n − 1 in the denominator; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def family(a: Arm, b: Arm, course: Sequence[Arm]) -> list[Pair]:
    """The pairs that a verdict on a and b is corrected for.

    All pairs of the course's arms with several seeds if a and b are among them, else this pair alone.
    """
    pair = {a.token, b.token}
    if not pair <= {arm.token for arm in course}:
        return [(a, b)]
    return list(combinations([arm for arm in course if arm.token in pair or arm.is_group], 2))


def survives(
    a: Arm, b: Arm, course: Sequence[Arm], differences: Callable[[Arm, Arm], Sequence[float]]
) -> bool:
    """Whether the difference of a and b stays significant in its family (Holm's correction)."""
    pairs = family(a, b, course)
    significant = metrics.holm([metrics.p_value(differences(*pair)) for pair in pairs])
    return next(
        stays
        for (x, y), stays in zip(pairs, significant, strict=True)
        if {x.token, y.token} == {a.token, b.token}
    )
