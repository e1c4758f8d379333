"""Helpers of the query modules: running SQL, binning samples, the x axis."""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.errors import one_of
from explorer.queries import statements
from explorer.store.pyramids import LEVELS, Pyramid
from explorer.store.snapshot import direct, remembered

Cursor = duckdb.DuckDBPyConnection
READ_ROWS = 1 << 18
"""Rows of a layer's experts that a view reads where no roll-up is as fine as it asks for."""
AXES = {"step": "step", "tokens": "tokens_seen", "time": "wall_time_s"}
"""Name of an x axis -> column of `steps`."""


FIRST_LAYER = "(SELECT coalesce(layers[1], 0) FROM runs WHERE run_id = $run_id)"
"""SQL of the number of a run's first MoE layer."""
WIDTH = "coalesce(experts_per_layer[coalesce(list_position(layers, {layer}), {layer} + 1)], num_experts)"
"""SQL for the number of experts of a layer, from the columns of `runs`."""


def frame(cur: Cursor, sql: str, **params: Any) -> pl.DataFrame:
    """Run one statement with bound parameters (`$name`).

    In duckdb 1.5 `sql(..., params=...)` first materialises rows, which takes three times as long;
    a later version that lacks `execute(...).pl()` needs a change here only.
    """
    statements.note(sql, params)
    return cur.execute(direct(cur, sql, params), params).pl()


def shared_frame(cur: Cursor, sql: str, **params: Any) -> pl.DataFrame:
    """`frame` of a statement that several queries run: it is run once in each state of the index.

    Values of `params` must be hashable.
    """
    statements.note(sql, params)
    return remembered(cur, (sql, *params.items()), lambda: cur.execute(sql, params).pl())


def first_row(cur: Cursor, sql: str, **params: Any) -> tuple[Any, ...] | None:
    """The first row of a statement, or None."""
    statements.note(sql, params)
    row: tuple[Any, ...] | None = cur.execute(direct(cur, sql, params), params).fetchone()
    return row


def run_row(cur: Cursor, sql: str, **params: Any) -> tuple[Any, ...] | None:
    """`first_row` of a statement about a run's entry in the lists of runs and of their progress.

    It is read once in each state of the index, since nearly every query begins with it. Values of `params`
    must be hashable.
    """
    statements.note(sql, params)

    def read() -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = cur.execute(sql, params).fetchone()
        return row

    return remembered(cur, (sql, *params.items()), read)


def ranks(number: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """`np.unique` with its inverse, without sorting: for numbers with hardly any gaps, at least one."""
    low = number.min()
    is_there = np.bincount(number - low) > 0
    return np.flatnonzero(is_there) + low, (np.cumsum(is_there) - 1)[number - low]


def place(cur: Cursor, rows: pl.DataFrame, run_id: str, x: str, at: str = "last_step") -> pl.DataFrame:
    """Fill the column `x` of a frame from `steps`, at the end of the step in the column `at`.

    Loads may be recorded in steps that `steps` lacks; then the latest one before is used.
    Raises ConfigError for an unknown axis.
    """
    one_of("x", x, AXES)
    if x == "step":
        return rows.with_columns(x=pl.col(at).cast(pl.Float64))
    steps = rows[at].unique()
    # Equality first: unlike a search for the latest step, it does not sort a long run.
    exact = f"JOIN steps s ON s.run_id = $run_id AND s.step = w.{at}"
    before = f"ASOF JOIN (SELECT * FROM steps WHERE run_id = $run_id) s ON w.{at} >= s.step"
    positions = pl.DataFrame(schema={at: pl.Int64, "x": pl.Float64})
    for join in (exact, before):
        missing = steps.filter(~steps.is_in(positions[at].implode())).to_list()
        if missing:
            listed = f"(SELECT unnest($steps::BIGINT[]) AS {at}) w"
            sql = f"SELECT w.{at}, s.{AXES[x]}::DOUBLE AS x FROM {listed} {join}"
            positions = positions.vstack(frame(cur, sql, run_id=run_id, steps=missing))
    return rows.drop("x").join(positions, on=at, how="left", maintain_order="left").select(rows.columns)


@dataclass(frozen=True, kw_only=True)
class ViewBins:
    """The bins of one view of a run: which parts of a pyramid it reads, and how it merges them."""

    pyramid: Pyramid
    run_id: str
    level: int
    """Level of the stored bins; 0: the rows themselves."""
    factor: int
    """Bins of that level per bin of the view."""
    rolled: int
    """Samples that the stored bins cover."""
    samples: int

    @property
    def width(self) -> int:
        """Samples per bin of the view."""
        return self.factor << 2 * self.level

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of `pieces` and `merged`."""
        params: dict[str, Any] = {"run_id": self.run_id}
        if self.level:
            params |= {"level": self.level, "factor": self.factor}
        if self.has_fresh:
            params["width"] = self.width
        if self.level and self.has_fresh:
            params["rolled"] = self.rolled
        return params

    @property
    def has_fresh(self) -> bool:
        """Whether the view reads samples that no stored bin covers."""
        return not self.level or self.rolled < self.samples

    def pieces(self, where: str = "true") -> str:
        """SQL of the source rows of the bins; where: a condition on the keys."""
        return self.pyramid.pieces(where, stored=self.level > 0, fresh=self.has_fresh)

    def merged(self, where: str = "true") -> str:
        """SQL of the bins, one row per bin and key."""
        return self.pyramid.merged(self.pieces(where))


def choose_bins(
    cur: Cursor, run_id: str, pyramid: Pyramid, max_bins: int, read: int | None = None
) -> ViewBins:
    """At most `max_bins` bins of equally many samples.

    It takes the finest level with at most `read` bins (None: four times `max_bins`) and merges
    neighbours, so the cost of a view does not depend on the length of the run. Below the finest stored level
    it reads the rows themselves if a layer has few of them. An unknown run has no bins.
    """
    row = run_row(
        cur,
        "SELECT samples, rolled, num_experts FROM progress JOIN runs USING (run_id) "
        "WHERE run_id = $run_id AND table_name = $table_name",
        run_id=run_id,
        table_name=pyramid.counted,
    )
    samples, rolled, experts = row or (0, 0, 0)
    most = 4 * max_bins if read is None else read
    level = 0
    while level < LEVELS and rolled and -(-samples // 4**level) > most:
        level += 1
    if 0 < level < pyramid.finest:
        level = 0 if samples * experts <= READ_ROWS else pyramid.finest
    factor = max(1, -(-samples // (4**level * max(1, max_bins))))
    return ViewBins(
        pyramid=pyramid, run_id=run_id, level=level, factor=factor, rolled=rolled, samples=samples
    )
