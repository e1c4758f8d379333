"""The report of an import: assumptions, omitted rows with reasons, inconsistencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """One remark of an importer about a file."""

    kind: str
    """A short name such as `warm_up`, the same for every format."""
    severity: str
    """note: a fact; assumption: not stated in the file; left_out: rows that are not in the run;
    warning: an inconsistency."""
    sentence: str
    counts: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind the sentence."""
    place: str = ""
    """Where in the file: rows, layers or steps; empty for the whole file."""


class Report:
    """Collects entries in order."""

    def __init__(self) -> None:
        self.entries: list[ReportEntry] = []

    def note(self, kind: str, sentence: str, *, place: str = "", **counts: float) -> None:
        """A fact about the file."""
        self._add(kind, "note", sentence, place, counts)

    def assumption(self, kind: str, sentence: str, *, place: str = "", **counts: float) -> None:
        """An assumption about something that the file does not state."""
        self._add(kind, "assumption", sentence, place, counts)

    def left_out(self, kind: str, sentence: str, *, place: str = "", **counts: float) -> None:
        """Rows of the file that are not in the run."""
        self._add(kind, "left_out", sentence, place, counts)

    def warning(self, kind: str, sentence: str, *, place: str = "", **counts: float) -> None:
        """An inconsistency."""
        self._add(kind, "warning", sentence, place, counts)

    def to_list(self) -> list[dict[str, Any]]:
        """The entries as JSON data."""
        return [asdict(entry) for entry in self.entries]

    def _add(self, kind: str, severity: str, sentence: str, place: str, counts: Mapping[str, float]) -> None:
        entry = ReportEntry(kind=kind, severity=severity, sentence=sentence, counts=dict(counts), place=place)
        if entry not in self.entries:
            self.entries.append(entry)
