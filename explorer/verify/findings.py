"""Results of a check: the number of comparisons, and the first difference with both values."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

OK = "ok"
MISMATCH = "mismatch"
NOT_CHECKSUMMED = "not checksummed"
NOT_RECOMPUTABLE = "not recomputable"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One wrong value. Keys that do not apply are None."""

    table: str
    """A table of the run, a file of its folder, or a table of the index."""
    column: str | None = None
    step: int | None = None
    layer: int | None = None
    expert: int | None = None
    where: str = ""
    """Other keys as text, e.g. the domain."""
    recorded: Any = None
    expected: Any = None
    note: str = ""
    """Source of the expected value."""

    @property
    def sentence(self) -> str:
        """Table, keys and both values in one line."""
        keys = [("step", self.step), ("layer", self.layer), ("expert", self.expert)]
        place = [self.table, *(f"{name} {value}" for name, value in keys if value is not None)]
        place += [self.where] if self.where else []
        note = f" ({self.note})" if self.note else ""
        named = f"{self.column} " if self.column else ""
        return f"{', '.join(place)}: {named}{_text(self.recorded)}, expected {_text(self.expected)}{note}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check of one run."""

    name: str
    status: str
    """ok, mismatch, not checksummed or not recomputable."""
    compared: int
    """Number of compared rows, files or values."""
    mismatches: int
    first: Difference | None
    reason: str
    """Why something was not compared; empty if everything was."""


@dataclass
class Findings:
    """Collects the outcome of one check."""

    name: str
    compared: int = 0
    mismatches: int = 0
    first: Difference | None = None
    reasons: dict[str, None] = field(default_factory=dict)
    unresolved: str = NOT_RECOMPUTABLE
    """The status if nothing differs but something was not compared."""

    def differ(self, difference: Difference, number: int = 1) -> None:
        """Add `number` differing values; only the first difference is kept."""
        self.mismatches += number
        self.first = self.first or difference

    def skip(self, reason: str) -> None:
        """Record why something could not be compared."""
        self.reasons.setdefault(reason)

    def compare(
        self, frame: pl.DataFrame, table: str, column: str, recorded: str, expected: str, note: str = ""
    ) -> None:
        """Compare two integer columns of `frame`, whose key columns are named as in the tables."""
        self.compared += frame.height
        rows = frame.filter(pl.col(recorded).ne_missing(pl.col(expected)))
        if rows.height:
            row = first_row(rows)
            self.differ(
                at(row, table, column=column, recorded=row[recorded], expected=row[expected], note=note),
                rows.height,
            )

    def check(self) -> Check:
        """The result so far."""
        status = MISMATCH if self.mismatches else self.unresolved if self.reasons else OK
        return Check(
            name=self.name,
            status=status,
            compared=self.compared,
            mismatches=self.mismatches,
            first=self.first,
            reason=" ".join(self.reasons),
        )


ORDER = ("step", "split", "domain", "token", "rank", "micro_batch", "sequence", "layer", "expert")


def first_row(rows: pl.DataFrame) -> dict[str, Any]:
    """The row that comes first by step, then by the other keys."""
    keys = [name for name in ORDER if name in rows.columns]
    return rows.sort(keys, nulls_last=True).row(0, named=True) if keys else rows.row(0, named=True)


def at(row: dict[str, Any], table: str, **values: Any) -> Difference:
    """A difference at the keys that `row` has."""
    others = [
        f"{name} {row[name]}" for name in ORDER if name in row and name not in ("step", "layer", "expert")
    ]
    return Difference(
        table=table,
        step=row.get("step"),
        layer=row.get("layer"),
        expert=row.get("expert"),
        where=", ".join(others),
        **values,
    )


def _text(value: Any) -> str:
    return "nothing" if value is None else repr(value) if isinstance(value, float) else str(value)
