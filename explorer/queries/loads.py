"""Loads of the experts of one layer over steps."""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, choose_bins, frame
from explorer.queries._layer_bins import layer_bins
from explorer.records.matrix import LoadMatrix
from explorer.store.pyramids import LOADS


def load_heatmap(cur: Cursor, run_id: str, layer: int, max_bins: int = 200) -> pl.DataFrame:
    """Loads of a layer in at most `max_bins` columns of equally many samples.

    Columns: bin, first_step, last_step, expert, load_ratio (mean tokens over the uniform load, from
    integer sums), min_ratio and max_ratio (over the samples of the bin), tokens (sum), is_dead (no
    token in the whole bin). Sorted by bin and expert.
    """
    bins = layer_bins(cur, run_id, layer, max_bins, "tokens")
    tokens, width = bins.values["tokens_sum"], bins.is_present.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratio = tokens * width / tokens.sum(1, keepdims=True)
    return bins.frame(
        {
            "load_ratio": ratio,
            "min_ratio": bins.values["share_min"] * width,
            "max_ratio": bins.values["share_max"] * width,
            "tokens": tokens,
            "is_dead": tokens == 0,
        }
    )


FULL_MATRIX = """
    SELECT ordinal AS bin, expert, step AS first_step, tokens AS tokens_sum, expert_bias
    FROM expert_loads WHERE run_id = $run_id AND layer = $layer
"""
BINNED_MATRIX = """
    SELECT bin, expert, first_step, last_step, tokens_sum, bias_sum, bias_count FROM ({pieces})
"""


def load_matrix(cur: Cursor, run_id: str, layer: int, max_columns: int = 4000) -> LoadMatrix:
    """The loads of a layer as a matrix: every recorded step, or bins when there are more than `max_columns`.

    Unknown run or layer: S = E = 0.
    """
    bins = choose_bins(cur, run_id, LOADS.only("tokens", "bias"), max_columns, read=max_columns)
    if bins.width == 1:
        rows = _as_bins(frame(cur, FULL_MATRIX, run_id=run_id, layer=layer))
    else:
        sql = BINNED_MATRIX.format(pieces=bins.pieces("layer = $layer"))
        rows = frame(cur, sql, layer=layer, **bins.params)
    if rows.is_empty():
        nothing = np.empty(0, dtype=np.int64)
        return LoadMatrix(steps=nothing, last_steps=nothing, tokens=np.empty((0, 0), np.int64), bias=None)
    column, expert = rows["bin"].to_numpy(), rows["expert"].to_numpy()
    shape = (int(column.max()) + 1, int(expert.max()) + 1)
    cell = column.astype(np.int64) * shape[1] + expert
    is_present = np.zeros(math.prod(shape), dtype=np.bool_)
    is_present[cell] = True
    is_dense = len(cell) == len(is_present) and bool(is_present.all())
    return _placed(rows, shape, cell) if is_dense else _scattered(rows, shape, cell)


def _as_bins(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of FULL_MATRIX with the columns of BINNED_MATRIX, one bin per sample."""
    bias = rows["expert_bias"].to_numpy().astype(np.float64)
    is_finite = np.isfinite(bias)
    return rows.with_columns(
        last_step="first_step",
        bias_sum=pl.Series(np.where(is_finite, bias, 0.0)),
        bias_count=pl.Series(is_finite.astype(np.int64)),
    )


def _placed(rows: pl.DataFrame, shape: tuple[int, int], cell: NDArray[np.int64]) -> LoadMatrix:
    """Every cell once, in any order, as nearly every run has them: a fifth of the time of adding."""

    def grid(name: str) -> NDArray[Any]:
        values = rows[name].to_numpy()
        result = np.empty(len(values), dtype=values.dtype)
        result[cell] = values
        return result.reshape(shape)

    return LoadMatrix(
        steps=grid("first_step")[:, 0],
        last_steps=grid("last_step")[:, 0],
        tokens=grid("tokens_sum"),
        bias=_mean_bias(np.nan_to_num(grid("bias_sum"), copy=False), grid("bias_count")),
    )


def _scattered(rows: pl.DataFrame, shape: tuple[int, int], cell: NDArray[np.int64]) -> LoadMatrix:
    """Sum pieces of bins into a dense matrix: far faster than grouping and sorting in SQL."""
    column = rows["bin"].to_numpy()
    tokens = np.zeros(shape, dtype=np.int64)
    np.add.at(tokens.reshape(-1), cell, rows["tokens_sum"].to_numpy())
    first = np.full(shape[0], np.iinfo(np.int64).max)
    last = np.full(shape[0], -1)
    np.minimum.at(first, column, rows["first_step"].to_numpy())
    np.maximum.at(last, column, rows["last_step"].to_numpy())
    samples = np.bincount(cell, rows["bias_count"].to_numpy(), minlength=tokens.size)
    total = np.bincount(cell, rows["bias_sum"].fill_null(0.0).to_numpy(), minlength=tokens.size)
    bias = _mean_bias(total.reshape(shape), samples.reshape(shape))
    return LoadMatrix(steps=first, last_steps=last, tokens=tokens, bias=bias)


def _mean_bias(total: NDArray[Any], samples: NDArray[Any]) -> NDArray[np.float32] | None:
    if not samples.any():
        return None
    with np.errstate(invalid="ignore"):
        return np.asarray(total / samples, dtype=np.float32)


def loads_at(cur: Cursor, run_id: str, layer: int, step: int) -> pl.DataFrame:
    """Loads of a layer in the last recorded step at or before `step`.

    Columns: expert, tokens, load_ratio (tokens over the uniform load), expert_bias, mean_score,
    mean_normalised_score (NULL where not recorded), step. Sorted by expert.
    """
    return frame(
        cur,
        """
        SELECT expert, tokens,
               tokens * count(*) OVER () / nullif(sum(tokens) OVER (), 0) AS load_ratio,
               expert_bias, mean_score, mean_normalised_score, step
        FROM expert_loads
        WHERE run_id = $run_id AND layer = $layer AND step = (
            SELECT max(step) FROM layer_metrics WHERE run_id = $run_id AND layer = $layer AND step <= $step
        )
        ORDER BY expert
        """,
        run_id=run_id,
        layer=layer,
        step=step,
    )
