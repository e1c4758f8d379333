"""Bins of the loads and biases of one layer, merged in numpy.

A GROUP BY of SQL takes five times as long, of which planning is half. Rows become arrays over pieces (a
stored bin or a sample) and experts, whose neighbours are then added. Shapes: P pieces, B bins, E experts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, ViewBins, choose_bins, frame, ranks
from explorer.store.pyramids import LOADS

Array = NDArray[Any]
VALUES = {
    "tokens": ("tokens_sum", "share_min", "share_max"),
    "bias": ("bias_count", "bias_sum", "bias_min", "bias_max", "bias_not_finite", "bias_last"),
}
"""Kind of value -> its measures."""
WITH_BIAS = {
    "load_bins": " AND bias_count + bias_not_finite > 0",
    "expert_loads": " AND expert_bias IS NOT NULL",
}
"""Rows without a bias say nothing about biases; a run that has none need not be read."""


@dataclass(frozen=True, kw_only=True)
class LayerBins:
    """The bins of one layer; every array is [B, E]."""

    number: NDArray[np.int64]
    """[B] the number of each bin."""
    is_present: NDArray[np.bool_]
    """Whether an expert has a sample in a bin."""
    values: dict[str, Array]
    """first_step, last_step and the measures; NaN for NULL. `bias_last` is masked by `has_last`, since a bias
    may be NaN itself."""

    def frame(
        self, names: dict[str, Array], keep: Array | None = None, *, by_expert: bool = False
    ) -> pl.DataFrame:
        """bin, first_step, last_step, expert and these columns, one row per expert that a bin has.

        keep: a condition. Sorted by bin and expert, or the other way round. NaN becomes NULL, but not in
        `bias_last`.
        """
        where = self.is_present if keep is None else self.is_present & keep
        if by_expert:
            expert, row = np.nonzero(where.T)
        else:
            row, expert = np.nonzero(where)
        at = (row, expert)
        columns: dict[str, Any] = {
            "bin": self.number[row],
            "first_step": self.values["first_step"][at],
            "last_step": self.values["last_step"][at],
            "expert": expert.astype(np.int32),
        }
        result = pl.DataFrame(columns | {name: values[at] for name, values in names.items()})
        odd = [name for name, values in names.items() if values.dtype.kind == "f" and name != "bias_last"]
        result = result.with_columns(pl.col(odd).fill_nan(None))
        if "bias_last" in names:
            has_last = pl.Series(self.values["has_last"][at])
            result = result.with_columns(bias_last=pl.when(has_last).then(pl.col("bias_last")))
        return result


def layer_bins(cur: Cursor, run_id: str, layer: int, max_bins: int, value: str) -> LayerBins:
    """The bins of a layer; value: a key of VALUES. An unknown run or layer has B = 0."""
    bins = choose_bins(cur, run_id, LOADS, max_bins)
    parts: list[pl.DataFrame] = []
    if bins.level:
        parts.append(_stored(cur, bins, layer, value))
    if bins.has_fresh:
        parts.append(_samples(cur, bins, layer, value))
    experts = max((int(part["expert"].max()) + 1 for part in parts if part.height), default=0)  # type: ignore[arg-type]
    grids = [_grid(part, experts, value) for part in parts if part.height]
    return _merged(grids, bins) if grids else _nothing(value)


def _stored(cur: Cursor, bins: ViewBins, layer: int, value: str) -> pl.DataFrame:
    names = ", ".join(VALUES[value])
    return frame(
        cur,
        f"SELECT bin, expert, first_step, last_step, {names} FROM load_bins "
        f"WHERE run_id = $run_id AND level = $level AND layer = $layer{_condition('load_bins', value)}",
        run_id=bins.run_id,
        level=bins.level,
        layer=layer,
    )


def _condition(table: str, value: str) -> str:
    return WITH_BIAS[table] if value == "bias" else ""


def _samples(cur: Cursor, bins: ViewBins, layer: int, value: str) -> pl.DataFrame:
    """The samples that the stored bins do not cover: ordinal, expert, first_step, tokens or bias."""
    column = "tokens" if value == "tokens" else "expert_bias AS bias"
    later = {"rolled": bins.rolled} if bins.level else {}
    return frame(
        cur,
        f"SELECT ordinal, expert, step AS first_step, {column} FROM expert_loads "
        f"WHERE run_id = $run_id AND layer = $layer{' AND ordinal >= $rolled' if later else ''}"
        f"{_condition('expert_loads', value)}",
        run_id=bins.run_id,
        layer=layer,
        **later,
    )


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Rows as arrays [P, E]."""

    numbers: NDArray[np.int64]
    """[P] of the stored bins, or ordinals of the samples; ascending."""
    are_samples: bool
    is_present: NDArray[np.bool_]
    values: dict[str, Array]


def _grid(rows: pl.DataFrame, experts: int, value: str) -> _Grid:
    are_samples = "ordinal" in rows.columns
    placing = _whole_pieces(rows, experts) or _Scattered.of(rows, experts)
    if not are_samples:
        values = {name: placing.grid(rows[name]) for name in ("first_step", "last_step", *VALUES[value])}
        if value == "bias":
            values["has_last"] = placing.presence(rows["bias_last"])
    else:
        values = {"first_step": placing.grid(rows["first_step"])}
        if value == "tokens":
            values |= _of_tokens(placing.grid(rows["tokens"]), placing.is_present)
        else:
            values |= _of_bias(placing.grid(rows["bias"]), placing.presence(rows["bias"]))
    values.setdefault("last_step", values["first_step"])
    return _Grid(
        numbers=placing.numbers.astype(np.int64),
        are_samples=are_samples,
        is_present=placing.is_present,
        values=values,
    )


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """Rows that list every expert of a piece, in order, before the next piece: they are arrays already."""

    numbers: Array
    """[P] ascending."""
    order: Array | slice
    """[P] the place of each piece among the rows."""
    is_present: NDArray[np.bool_]

    def grid(self, column: pl.Series) -> Array:
        """The values [P, E] of a column; NULL becomes NaN."""
        values = column.to_numpy().reshape(self.is_present.shape)[self.order]
        return values if values.dtype.kind == "i" else values.astype(np.float64, copy=False)

    def presence(self, column: pl.Series) -> NDArray[np.bool_]:
        """[P, E] where a column is not NULL."""
        return column.is_not_null().to_numpy().reshape(self.is_present.shape)[self.order]


@dataclass(frozen=True, kw_only=True)
class _Scattered:
    """Rows in any order, some of which may be missing."""

    numbers: Array
    """[P] ascending."""
    at: tuple[Array, Array]
    """The piece and the expert of every row."""
    is_present: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: pl.DataFrame, experts: int) -> "_Scattered":
        """The places of these rows."""
        expert = rows["expert"].to_numpy()
        number = rows["ordinal" if "ordinal" in rows.columns else "bin"].to_numpy()
        numbers, piece = _pieces(number, expert, rows["first_step"].to_numpy(), experts)
        is_present = np.zeros((len(numbers), experts), dtype=np.bool_)
        is_present[piece, expert] = True
        return cls(numbers=numbers, at=(piece, expert), is_present=is_present)

    def grid(self, column: pl.Series) -> Array:
        """The values [P, E] of a column; NULL becomes NaN, a missing row NaN or 0."""
        values, shape = column.to_numpy(), self.is_present.shape
        result = np.zeros(shape, values.dtype) if values.dtype.kind == "i" else np.full(shape, np.nan)
        result[self.at] = values
        return result

    def presence(self, column: pl.Series) -> NDArray[np.bool_]:
        """[P, E] where a column is not NULL."""
        result = np.zeros(self.is_present.shape, dtype=np.bool_)
        result[self.at] = column.is_not_null().to_numpy()
        return result


def _whole_pieces(rows: pl.DataFrame, experts: int) -> _Whole | None:
    """The rows as they lie, as an ingest writes them; None where they are in another order or incomplete."""
    if rows.height % experts:
        return None
    shape = (rows.height // experts, experts)
    number = rows["ordinal" if "ordinal" in rows.columns else "bin"].to_numpy().reshape(shape)
    is_whole = np.array_equal(
        rows["expert"].to_numpy().reshape(shape), np.broadcast_to(np.arange(experts), shape)
    ) and np.array_equal(number, np.broadcast_to(number[:, :1], shape))
    if not is_whole:
        return None
    order: Any = np.lexsort((rows["first_step"].to_numpy().reshape(shape)[:, 0], number[:, 0]))
    if np.array_equal(order, np.arange(len(order))):
        order = slice(None)  # no copy
    return _Whole(numbers=number[order, 0], order=order, is_present=np.ones(shape, dtype=np.bool_))


def _pieces(number: Array, expert: Array, first_step: Array, experts: int) -> tuple[Array, Array]:
    """The number of every piece, and the piece of every row.

    A bin that was rolled up in several rounds, as those of a growing run are, has a row per round and expert:
    the n-th of each expert is in the bin's n-th piece.
    """
    numbers, piece = ranks(number)
    cell = piece * experts + expert
    most = int(np.bincount(cell).max())
    if most == 1:
        return numbers, piece
    order = np.lexsort((first_step, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    round_ = np.empty_like(cell)
    round_[order] = np.arange(len(cell)) - np.repeat(starts, np.diff(starts, append=len(cell)))
    keys, piece = ranks(piece * most + round_)
    return numbers[keys // most], piece


def _of_tokens(tokens: Array, is_present: Array) -> dict[str, Array]:
    """The measures of single samples."""
    with np.errstate(invalid="ignore"):
        share = np.where(is_present, tokens / tokens.sum(1, keepdims=True), np.nan)
    return {"tokens_sum": tokens, "share_min": share, "share_max": share}


def _of_bias(bias: Array, is_known: Array) -> dict[str, Array]:
    is_finite = np.isfinite(bias)
    finite = np.where(is_finite, bias, np.nan)
    return {
        "bias_count": is_finite.astype(np.int64),
        "bias_sum": np.where(is_finite, bias, 0.0),
        "bias_min": finite,
        "bias_max": finite,
        "bias_not_finite": (is_known & ~is_finite).astype(np.int64),
        "bias_last": bias,
        "has_last": is_known,
    }


def _merged(grids: list[_Grid], bins: ViewBins) -> LayerBins:
    """Neighbouring pieces as one bin; stored bins come before the samples that follow them."""
    of_bin = np.concatenate(
        [grid.numbers // (bins.width if grid.are_samples else bins.factor) for grid in grids]
    )
    starts = np.flatnonzero(np.diff(of_bin, prepend=-1))
    is_present = np.concatenate([grid.is_present for grid in grids])
    pieces = {name: np.concatenate([grid.values[name] for grid in grids]) for name in grids[0].values}
    values = {name: _reduced(name, pieces, is_present, starts) for name in pieces if name != "has_last"}
    if "has_last" in pieces:
        values["has_last"] = np.logical_or.reduceat(pieces["has_last"], starts)
    return LayerBins(
        number=of_bin[starts], is_present=np.logical_or.reduceat(is_present, starts), values=values
    )


def _reduced(name: str, pieces: dict[str, Array], is_present: Array, starts: Array) -> Array:
    values = pieces[name]
    if name == "first_step":
        return np.minimum.reduceat(np.where(is_present, values, np.iinfo(np.int64).max), starts)
    if name == "bias_last":
        place = np.where(pieces["has_last"], np.arange(len(values))[:, None], 0)
        return np.take_along_axis(values, np.maximum.reduceat(place, starts), 0)
    kind: Callable[..., Array] = {
        "last_step": np.maximum,
        "min": np.fmin,
        "max": np.fmax,
    }.get(name if name == "last_step" else name.rsplit("_", 1)[1], np.add).reduceat
    return kind(np.nan_to_num(values, nan=0.0) if name == "bias_sum" else values, starts)


def _nothing(value: str) -> LayerBins:
    whole = {"first_step", "last_step", "tokens_sum", "bias_count", "bias_not_finite"}
    names = ("first_step", "last_step", *VALUES[value])
    values: dict[str, Array] = {n: np.empty((0, 0), np.int64 if n in whole else np.float64) for n in names}
    nothing = np.empty((0, 0), dtype=np.bool_)
    return LayerBins(
        number=np.empty(0, dtype=np.int64), is_present=nothing, values={**values, "has_last": nothing}
    )
