"""A figure with everything that belongs to it: its words, its data and the statements they came from."""

import re
from dataclasses import dataclass

import polars as pl

from explorer.charts.spec import Spec
from explorer.queries.statements import Statement


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure of a view, as a page shows it and a file keeps it."""

    key: str
    """Its name in a link and in a file name; see `slug`."""
    subject: str
    """What it is of, e.g. "MaxVio over training"."""
    finding: str
    """What this data says, computed."""
    how: str
    """One sentence on how to read it."""
    spec: Spec
    playhead: float | None = None
    table: pl.DataFrame | None = None
    """The numbers behind it."""
    statements: tuple[Statement, ...] = ()
    """The SQL that the numbers came from; empty where nothing was asked, as in a simulation."""


def slug(text: str) -> str:
    """Small letters, digits and hyphens: safe in a URL, a file name and a CSS class."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
