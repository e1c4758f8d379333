"""CSV and Parquet files with one row per expert: their columns, and where a row stands in the file."""

import csv
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any

import polars as pl

from explorer.importers.options import Options
from explorer.importers.source import Source

LONGEST_HEADER = 1 << 16
COMMENT = b"#"


class TableFile:
    """One table, scanned lazily. A compressed CSV is expanded in memory."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.is_parquet = source.head.startswith(b"PAR1")
        self._names = [name.strip() for name in options.text("columns").split(",") if name.strip()]
        """Names of the columns of a CSV without a header."""

    def scan(self) -> pl.LazyFrame:
        """The rows. Raises PolarsError, also when they are collected."""
        return pl.scan_parquet(self.source.path, glob=False) if self.is_parquet else self._csv()

    def as_text(self) -> pl.LazyFrame:
        """The rows with their number from 0 in `row`; of a CSV every value as text, whatever it holds."""
        if self.is_parquet:
            return self.scan().with_row_index("row")
        return self._csv(infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy", number="row")

    def place(self, row: int) -> str:
        """Where row `row` stands: `row 5` of a Parquet file from 1, `line 6` of a CSV."""
        if self.is_parquet:
            return f"row {row + 1:,}"
        for number, (line, _) in enumerate(self._records()):
            if number == row:
                return f"line {line:,}"
        return f"row {row + 1:,}"

    def longer_line(self) -> tuple[int, int] | None:
        """Number of the first line with more fields than the header has, and their number."""
        for line, record in self._records():
            fields = next(csv.reader([record.decode("utf-8", "replace")], delimiter=self._separator), [])
            if len(fields) > self.width:
                return line, len(fields)
        return None

    @cached_property
    def width(self) -> int:
        """Columns that the header names."""
        return len(self._names) or len(next(csv.reader([self._header], delimiter=self._separator)))

    @cached_property
    def _header(self) -> str:
        return header_of(self.source)

    @property
    def _separator(self) -> str:
        return separator_of(self._header)

    def _csv(self, number: str | None = None, **settings: Any) -> pl.LazyFrame:
        whole = BytesIO(self.source.content()) if self.source.is_compressed else self.source.path
        return pl.scan_csv(
            whole,
            separator=self._separator,
            has_header=not self._names,
            new_columns=self._names or None,
            comment_prefix=COMMENT.decode(),
            glob=False,
            row_index_name=number,
            **settings,
        )

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """(number of its first line, from 1, and its bytes) of every row; a blank line is a row of NULLs."""
        is_header, before, first, record = not self._names, 0, 0, b""
        for number, line in self.source.lines():
            if record:  # a quoted value goes on
                record += b"\n" * (number - before) + line
            else:
                if not is_header:
                    yield from ((blank, b"") for blank in range(before + 1, number))
                if line.startswith(COMMENT):
                    before = number
                    continue
                first, record = number, line
            before = number
            if record.count(b'"') % 2:
                continue
            if not is_header:
                yield first, record
            is_header, record = False, b""


def header_of(source: Source) -> str:
    """The first line that is not a comment."""
    for line in source.head[:LONGEST_HEADER].splitlines():
        if line.strip() and not line.startswith(COMMENT):
            return line.decode("utf-8-sig", "replace").strip()
    return ""


def separator_of(header: str) -> str:
    """The separator that a header has most of."""
    return max((",", "\t", ";"), key=header.count)


def names_in(header: str) -> Sequence[str]:
    """The names that a header lists, in lower case."""
    return [name.strip().strip('"').lower() for name in header.split(separator_of(header))]
