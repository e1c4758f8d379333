"""The cells and the event marks of a load heatmap, as the browser reads them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts import event_marks, heatmaps, rank_heatmap
from explorer.charts.scales import LOAD_LIMIT
from explorer.ui.components.packing import pack, smallest

TOP = 253
"""Level of the highest load; the lowest is 0."""
NO_TOKENS, NOT_RECORDED = 254, 255
"""Levels of cells without a ratio."""
HUNDREDTHS = 100
"""Ratios are sent in hundredths, which is what the tooltip shows."""


@dataclass(frozen=True, kw_only=True)
class LoadMap:
    """One heatmap: E rows from top to bottom, C columns of binned steps. A row is an expert or, of very many,
    a rank or a group of ranks.
    """

    data: dict[str, Any]
    """experts [E], first and last step [C], edges [C + 1] on the axis of steps, level, ratio, low, high and
    tokens [E * C] row by row, marks, version (digest of the rest). By rank also names [E], owners [E]
    (the expert of a row, -1 for a group) and busiest [E * C] (the expert that a cell opens)."""

    @property
    def experts(self) -> int:
        return int(self.data["experts"])


def load_map_of(frame: pl.DataFrame, events: pl.DataFrame) -> LoadMap:
    """The heatmap of `charts.heatmaps.load_heatmap` as numbers.

    frame: columns of `queries.load_heatmap`, not empty. events: of this layer, columns of `queries.events`.
    """
    data = _numbers(heatmaps.cells(frame), events)
    return LoadMap(data=_with_version(data))


def rank_map_of(frame: pl.DataFrame, events: pl.DataFrame) -> LoadMap:
    """The heatmap of `charts.rank_heatmap` as numbers. frame: columns of `queries.load_ranks`, not empty."""
    cells = heatmaps.cells(frame.with_columns(expert=pl.col("row")))
    rows = frame.unique("row").sort("row")
    data = _numbers(cells, events)
    data["names"] = rank_heatmap.names(frame)
    data["owners"] = rows["expert"].fill_null(-1).to_list()
    shape, at = _places(cells)
    data["busiest"] = pack(smallest(_grid(frame["busiest"], shape, at, 0).astype(np.int64)))
    return LoadMap(data=_with_version(data))


def _with_version(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "version": hashlib.sha256(repr(data).encode()).hexdigest()[:16]}


def _places(cells: pl.DataFrame) -> tuple[tuple[int, int], tuple[NDArray[Any], NDArray[Any]]]:
    """Shape (E, C) of the heatmap, and row and column of every cell."""
    columns = cells["first_step"].unique().sort().to_numpy()
    rows = cells["expert"].to_numpy()
    return (int(rows.max()) + 1, len(columns)), (
        rows,
        np.searchsorted(columns, cells["first_step"].to_numpy()),
    )


def _numbers(cells: pl.DataFrame, events: pl.DataFrame) -> dict[str, Any]:
    """What both kinds of heatmap send."""
    columns = cells.unique("first_step").sort("first_step")
    shape, at = _places(cells)
    return {
        "experts": shape[0],
        "first": pack(columns["first_step"].to_numpy().astype(np.int32)),
        "last": pack(columns["last_step"].to_numpy().astype(np.int32)),
        "edges": [*columns["x"].to_list(), columns["x2"][-1]],
        "level": pack(_levels(cells, shape, at)),
        "tokens": pack(smallest(_grid(cells["tokens"], shape, at, 0).astype(np.int64))),
        **{
            name: pack(_hundredths(_grid(cells[column], shape, at, 0.0)))
            for name, column in (("ratio", "load_ratio"), ("low", "min_ratio"), ("high", "max_ratio"))
        },
        "marks": _marks(events, (columns["x"][0], columns["x2"][-1])),
    }


def _grid(
    values: pl.Series, shape: tuple[int, int], at: tuple[NDArray[Any], NDArray[Any]], missing: float
) -> NDArray[np.float64]:
    """[E, C] of the cells' values; `missing` where there is none."""
    grid = np.full(shape, missing, dtype=np.float64)
    grid[at] = values.cast(pl.Float64).fill_null(missing).fill_nan(missing).to_numpy()
    return grid


def _levels(
    cells: pl.DataFrame, shape: tuple[int, int], at: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[np.uint8]:
    """uint8[E, C]: colour of every cell, `cells.value` within ±LOAD_LIMIT on 0 ... TOP."""
    absent = pl.when(pl.col("state") == "no tokens").then(NO_TOKENS).otherwise(NOT_RECORDED)
    level = ((pl.col("value") + LOAD_LIMIT) / (2 * LOAD_LIMIT) * TOP).round()
    levels = cells.select(pl.coalesce(level, absent)).to_series()
    return _grid(levels, shape, at, NOT_RECORDED).astype(np.uint8)


def _hundredths(ratios: NDArray[np.float64]) -> NDArray[Any]:
    return smallest(np.rint(ratios * HUNDREDTHS).astype(np.int64))


def _marks(events: pl.DataFrame, span: tuple[float, float]) -> list[dict[str, Any]]:
    """Signs above the cells, grouped as in the chart (`event_marks.grouped`)."""
    marks = events.filter(pl.col("step").is_between(*span))
    if marks.is_empty():
        return []
    return [_mark(group) for group in event_marks.grouped(marks, max(1.0, span[1] - span[0]))]


def _mark(group: pl.DataFrame) -> dict[str, Any]:
    kinds = group["kind"].unique(maintain_order=True).to_list()
    glyph = event_marks.glyph(kinds[0] if len(kinds) == 1 else event_marks.SEVERAL)
    first, last = int(group["step"][0]), int(group["step"][-1])
    return {
        "step": first,
        "sign": glyph.letter,
        "ink": [glyph.ink.light, glyph.ink.dark],
        "count": group.height,
        "when": f"step {first}" if first == last else f"steps {first} to {last}",
        "text": event_marks.words(group),
    }
