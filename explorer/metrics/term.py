"""One entry of the Glossary, and the sections of entries."""

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
    note: str = ""
    """Details for the page: symbols, ranges, pitfalls."""
    sources: tuple[Source, ...] = ()


ROUTING, RULES, METRICS, EVENTS, READING = (
    "Routing",
    "Balancing rules",
    "Metrics",
    "Events",
    "Reading the charts",
)
