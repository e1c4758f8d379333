"""Scalars in a CSV with a column of steps and one column per key, line by line."""

import csv
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import StringIO

from explorer.errors import shortened
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.tfevents import Scalar
from explorer.wording import counted


def csv_scalars(source: Source, step_keys: Collection[str], report: Report) -> Iterator[Scalar]:
    """(step, key, value) of every cell that holds a finite number; the others are reported.

    step_keys: names of the column of steps, in lower case. Raises ForeignFileError with the line.
    """
    lines = ((number, line.decode("utf-8-sig", "replace")) for number, line in source.lines())
    names: list[str] = []
    place = -1
    texts = _Texts()
    for number, line in lines:
        try:
            row = next(csv.reader(StringIO(line)))
        except (csv.Error, StopIteration) as error:
            raise source.problem(f"line {number}", f"is no line of a CSV ({error})") from error
        if not names:
            names = [name.rpartition(" - ")[2].strip() for name in row]
            place = next((n for n, name in enumerate(names) if name.lower() in step_keys), -1)
            if place < 0:
                raise source.problem("line 1", f"must name one of {', '.join(step_keys)}")
            continue
        if len(row) != len(names):
            raise source.problem(f"line {number}", f"has {len(row)} fields, which must be {len(names)}")
        step = _number(row[place])
        if step is None or not step.is_integer():
            raise source.problem(f"line {number}", f"{names[place]} must be a whole number")
        for name, text in zip(names, row, strict=True):
            if name.lower() in step_keys or name.endswith(("__MIN", "__MAX")):
                continue
            value = _number(text)
            if value is not None:
                texts.numeric.add(name)
                yield int(step), name, value
            elif text.strip():
                texts.add(name, f"line {number}, {name}: {shortened(text)}")
    texts.report_to(report)


@dataclass
class _Texts:
    """Cells that hold no finite number, by column. A column of nothing else is one of names."""

    numeric: set[str] = field(default_factory=set)
    cells: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, place: str) -> None:
        """Count one cell; place: where it is and what it holds."""
        self.first.setdefault(name, place)
        self.cells[name] = self.cells.get(name, 0) + 1

    def report_to(self, report: Report) -> None:
        """One entry for all columns of numbers that have such cells."""
        names = [name for name in self.cells if name in self.numeric]
        if names:
            cells = sum(self.cells[name] for name in names)
            first = self.first[names[0]]
            sentence = f"{counted(cells, 'value')} left out, not finite numbers (the first: {first})."
            report.left_out("unreadable_values", sentence, values=cells)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
