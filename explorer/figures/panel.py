"""A panel: a chart with its finding, its reading, its data and the SQL behind the data."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from explorer.charts import captions
from explorer.charts.spec import Spec
from explorer.figures.arm_set import ArmSet
from explorer.figures.layer_names import named_subject
from explorer.figures.store import Store
from explorer.queries.statements import Statement


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The answer to one question, as a page shows it and a file keeps it."""

    subject: str
    """The quantity and its scope, e.g. "MaxVio over training"."""
    finding: str
    """What this data shows, computed from it."""
    how: str
    """One sentence on how to read the chart."""
    spec: Spec
    on_page: Spec | None = None
    """The chart as a page draws it, where files need more, e.g. a legend that several charts share."""
    steady: Spec | None = None
    """The chart beside the controls of a page, which then exchange its rows only: without a word that the
    heading on the page says, e.g. the layer."""
    key: str = ""
    """Its name in a link and in a file name; see `slug`. A `Question` sets it."""
    playhead: float | None = None
    table: pl.DataFrame | None = None
    """The numbers behind the chart."""
    statements: tuple[Statement, ...] = ()
    """The SQL that the numbers came from; empty for a simulation."""

    @property
    def alt(self) -> str:
        """The description that a screen reader hears."""
        return captions.alt_text(self.subject, self.finding)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The answer to a question for which the runs have no data."""

    subject: str
    reason: str
    """One sentence, which a page shows in the chart's place."""


Build = Callable[[Store, ArmSet, Any], Panel | Missing]
"""A function of `explorer.figures` that answers one question."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A panel that can be built: a function of `explorer.figures` with its arms and settings.

    Equal `cache_key`s give equal panels, so an app may keep the result.
    """

    key: str
    """Name of the panel in a link and in a file."""
    build: Build
    arms: ArmSet
    settings: Any = None
    """A frozen dataclass of what `build` depends on beside the runs, or None."""

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Cache key: everything that the panel depends on, versions of the runs included."""
        return (self.build.__module__, self.build.__qualname__, self.arms.key, self.settings)

    def answer(self, store: Store) -> Panel | Missing:
        """Ask the store and draw."""
        result = self.build(store, self.arms, self.settings)
        if isinstance(result, Missing):
            return result
        subject = named_subject(result.subject, self.arms, self.settings)
        return replace(result, key=slug(self.key), subject=subject)


def slug(text: str) -> str:
    """Small letters, digits and hyphens: safe in a URL, a file name and a CSS class."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
