"""One entry of the Glossary, and the sections that entries stand in."""

from dataclasses import dataclass

from explorer.metrics.sources import Source


@dataclass(frozen=True, kw_only=True)
class Term:
    """One entry."""

    key: str
    title: str
    section: str
    text: str
    """One or two plain sentences; also the tooltip."""
    formula: str = ""
    more: str = ""
    """What the page adds: symbols, ranges, traps."""
    sources: tuple[Source, ...] = ()


ROUTING, RULES, METRICS, EVENTS, READING = (
    "Routing",
    "Balancing rules",
    "Metrics",
    "Events",
    "Reading the charts",
)
