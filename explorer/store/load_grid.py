"""Rows of `expert_loads` as arrays, with every row in its place.

Windows and bins along the samples are taken in numpy: a window function of SQL sorts every row, and a join
with an aggregation of 16 measures looks at each one by one, together half of what an ingest cost.
L layers, S samples, E experts of the widest layer.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LoadGrid:
    """The loads of some samples and layers."""

    layer_L: NDArray[np.int32]
    """The model's own numbers, ascending."""
    start: int
    """Ordinal of the first sample."""
    is_present_LSE: Bools
    """Whether there is a row: a narrow layer lacks experts, and a layer may lack samples."""
    tokens_LSE: NDArray[np.int64]
    """0 without a row."""
    is_biased_LSE: Bools
    """Whether the bias is not NULL; it may be NaN."""
    bias_LSE: NDArray[np.float64]
    """NaN where NULL."""


def read_grid(
    cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int, layers: tuple[int, int] | None = None
) -> LoadGrid:
    """The samples from ordinal `start` to `stop` of all layers, or of those between two numbers, both
    inclusive. Without a row in them L is 0.
    """
    where, given = "", [run_key, start, stop]
    if layers is not None:
        where, given = "AND layer BETWEEN ? AND ?", [*given, *layers]
    rows = cur.execute(
        "SELECT layer, expert, ordinal, tokens, expert_bias FROM raw.expert_loads "
        f"WHERE run_key = ? AND ordinal >= ? AND ordinal < ? {where}",
        given,
    ).pl()
    layer_L = rows["layer"].unique().sort().to_numpy()
    place = np.zeros(int(layer_L.max(initial=-1)) + 1, dtype=np.int64)
    place[layer_L] = np.arange(len(layer_L))
    expert = rows["expert"].to_numpy()
    shape = (len(layer_L), stop - start, int(expert.max(initial=0)) + 1)
    cell = (place[rows["layer"].to_numpy()] * shape[1] + (rows["ordinal"].to_numpy() - start)) * shape[
        2
    ] + expert
    bias = rows["expert_bias"]

    is_present = np.zeros(shape, dtype=np.bool_)
    tokens = np.zeros(shape, dtype=np.int64)
    is_biased = np.zeros(shape, dtype=np.bool_)
    biases = np.full(shape, np.nan)
    is_present.reshape(-1)[cell] = True
    tokens.reshape(-1)[cell] = rows["tokens"].to_numpy()
    if bias.null_count() < len(bias):
        is_biased.reshape(-1)[cell] = bias.is_not_null().to_numpy()
        biases.reshape(-1)[cell] = bias.cast(float).fill_null(np.nan).to_numpy()
    return LoadGrid(
        layer_L=layer_L,
        start=start,
        is_present_LSE=is_present,
        tokens_LSE=tokens,
        is_biased_LSE=is_biased,
        bias_LSE=biases,
    )
