"""The parts of a metric's definition. The definitions themselves: `catalogue.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explorer.metrics.sources import OURS, Source

LOADS, STEPS, CHANCE, BIASES, CHOICES, DOMAINS, QUALITY = (
    "Loads of one layer",
    "MaxVio of a run",
    "What chance alone shows",
    "Over many steps",
    "Choices of tokens",
    "Domains",
    "Language model",
)
GROUPS = (LOADS, STEPS, CHANCE, BIASES, CHOICES, DOMAINS, QUALITY)
Expected = Callable[[int, int], float]
"""A value as a function of N and K."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric."""

    key: str
    title: str
    group: str
    text: str
    """One or two plain sentences; also the tooltip."""
    function: Callable[..., Any]
    """Its definition in `explorer.metrics`."""
    formula: str = ""
    note: str = ""
    range: str = ""
    """Least and largest value, LaTeX."""
    at_balance: str = ""
    """Value when every expert has the same load, LaTeX."""
    at_worst: str = ""
    """Value when all tokens take the same K experts, LaTeX."""
    balance: Expected | None = None
    """`at_balance` as a number; for the metrics of LOADS."""
    worst: Expected | None = None
    unit: str = ""
    store: str = ""
    """The query that reads it from the index, `module.function` of `explorer.queries`."""
    sources: tuple[Source, ...] = (OURS,)
