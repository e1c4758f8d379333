"""The outcome of a task: integer counts and sums, from which its metrics are derived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DONE, NOT_RUN = "done", "not run"


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task on one model."""

    task: str
    status: str = DONE
    """`done`, or `not run` with a reason: a metric that was not measured has no value, not a zero."""
    reason: str = ""
    """One sentence; empty if done."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Integers: problems, tokens, exact matches …"""
    sums: Mapping[str, float] = field(default_factory=dict)
    """Sums over those: nats, F1 …"""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Ratios of the above; None where the denominator is 0."""
    rows: Sequence[Mapping[str, Any]] = ()
    """The same per condition (length, selection, batch size …), where a task has several."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "task": self.task,
            "status": self.status,
            "reason": self.reason,
            "counts": dict(self.counts),
            "sums": dict(self.sums),
            "metrics": dict(self.metrics),
            "rows": [dict(row) for row in self.rows],
        }


def not_run(task: str, reason: str) -> TaskResult:
    """A task that was not run. reason: one sentence."""
    return TaskResult(task=task, status=NOT_RUN, reason=reason)


def ratio(part: float, whole: float) -> float | None:
    """part / whole; None where nothing was measured."""
    return part / whole if whole else None


def mean(values: NDArray[np.float64]) -> float | None:
    """Mean of all values; None where one of them is not defined (NaN)."""
    result = float(np.mean(values))
    return None if np.isnan(result) else result
