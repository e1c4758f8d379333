"""The cells and the event marks of a load heatmap, as the browser reads them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts import event_marks, heatmaps
from explorer.ui.components.packing import pack, smallest

LIMIT = 2.0
"""Colours reach from a quarter of the uniform load to four times of it: log2 of the load ratio."""
TOP = 253
"""Level of the highest load; the lowest is 0."""
NO_TOKENS, NOT_RECORDED = 254, 255
"""Levels of cells without a ratio."""
HUNDREDTHS = 100
"""Ratios are sent in hundredths, which is what the tooltip shows."""


@dataclass(frozen=True, kw_only=True)
class LoadMap:
    """One heatmap: E rows of experts from top to bottom, C columns of binned steps."""

    data: dict[str, Any]
    """experts [E], first and last step [C], edges [C + 1] on the axis of steps, level, ratio, low, high and
    tokens [E * C] row by row, marks, version (digest of the rest)."""

    @property
    def experts(self) -> int:
        return int(self.data["experts"])


def load_map_of(frame: pl.DataFrame, events: pl.DataFrame) -> LoadMap:
    """The heatmap of `charts.heatmaps.load_heatmap` as numbers.

    frame: columns of `queries.load_heatmap`, not empty. events: of this layer, columns of `queries.events`.
    """
    cells = heatmaps.cells(frame, LIMIT)
    columns = cells.unique("first_step").sort("first_step")
    experts = int(cells["expert"].max()) + 1  # type: ignore[arg-type]
    shape = (experts, columns.height)
    at = (
        cells["expert"].to_numpy(),
        np.searchsorted(columns["first_step"].to_numpy(), cells["first_step"].to_numpy()),
    )
    data: dict[str, Any] = {
        "experts": experts,
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
    data["version"] = hashlib.sha256(repr(data).encode()).hexdigest()[:16]
    return LoadMap(data=data)


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
    """uint8[E, C]: colour of every cell, `cells.value` within ±LIMIT on 0 ... TOP."""
    value = (cells["value"] + LIMIT) / (2 * LIMIT) * TOP
    return _grid(value.round().fill_null(NO_TOKENS), shape, at, NOT_RECORDED).astype(np.uint8)


def _hundredths(ratios: NDArray[np.float64]) -> NDArray[Any]:
    return smallest(np.rint(ratios * HUNDREDTHS).astype(np.int64))


def _marks(events: pl.DataFrame, span: tuple[float, float]) -> list[dict[str, Any]]:
    """Signs above the cells, grouped as in the chart (`event_marks.grouped`)."""
    shown = events.filter(pl.col("step").is_between(*span))
    if shown.is_empty():
        return []
    return [_mark(group) for group in event_marks.grouped(shown, max(1.0, span[1] - span[0]))]


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
