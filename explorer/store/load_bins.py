"""The finest bins of the roll-up of loads, merged in numpy; see `pyramids.LOADS` for what a bin keeps.

L layers, S samples, B bins, P samples of a bin, E experts of the widest layer.
"""

from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.store.load_grid import LoadGrid, read_grid
from explorer.store.pyramids import LOADS

SAMPLES = 4**LOADS.finest
"""P, samples of a bin of the finest level."""


def finest_bins(
    cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int, layers: tuple[int, int]
) -> pl.DataFrame:
    """The columns of `load_bins` from `level` on, one row per bin, layer and expert that has rows.

    start, stop: ordinals; layers: the first and the last number, both inclusive.
    """
    grid = read_grid(cur, run_key, start, stop, layers)
    steps = cur.execute(
        "SELECT DISTINCT ordinal, step FROM raw.layer_metrics "
        "WHERE run_key = ? AND ordinal >= ? AND ordinal < ? ORDER BY ordinal",
        [run_key, start, stop],
    ).fetchnumpy()["step"]
    frames = [_bins_of_layer(grid, place, np.asarray(steps)) for place in range(len(grid.layer_L))]
    return pl.concat(frames)


def _bins_of_layer(grid: LoadGrid, place: int, step_S: NDArray[np.int64]) -> pl.DataFrame:
    before, after = grid.start % SAMPLES, -(grid.start + len(step_S)) % SAMPLES

    def split(values_SE: NDArray[Any]) -> NDArray[Any]:
        if before or after:  # of a bin in pieces, its other samples are absent here
            fill = np.nan if values_SE.dtype.kind == "f" else 0
            values_SE = np.pad(values_SE, ((before, after), (0, 0)), constant_values=fill)
        return values_SE.reshape(-1, SAMPLES, values_SE.shape[-1])

    present_BPE = split(grid.is_present_LSE[place])
    kept_BE = present_BPE.any(axis=1)
    bin_B, expert_B = np.nonzero(kept_BE)
    step_BP1 = split(step_S[:, None])
    largest = np.iinfo(np.int64).max
    tokens_BPE = split(grid.tokens_LSE[place])
    merged = {
        "first_step": np.where(present_BPE, step_BP1, largest).min(axis=1),
        "last_step": np.where(present_BPE, step_BP1, -1).max(axis=1),
        "samples": present_BPE.sum(axis=1),
        "tokens_sum": tokens_BPE.sum(axis=1),
        "tokens_min": np.where(present_BPE, tokens_BPE, largest).min(axis=1),
        "tokens_max": tokens_BPE.max(axis=1),
        **_share(tokens_BPE, present_BPE),
        **_bias(split(grid.bias_LSE[place]), split(grid.is_biased_LSE[place])),
    }
    columns = {name: _column(values[kept_BE]) for name, values in merged.items()}
    return pl.DataFrame(
        {
            "level": np.full(len(bin_B), LOADS.finest, dtype=np.int32),
            "layer": np.full(len(bin_B), grid.layer_L[place], dtype=np.int32),
            "expert": expert_B.astype(np.int32),
            "bin": (grid.start // SAMPLES + bin_B).astype(np.int32),
            **columns,
        }
    )


def _column(values: NDArray[Any]) -> pl.Series:
    """A masked value is NULL."""
    series = pl.Series(np.ma.getdata(values))
    if not np.ma.is_masked(values):
        return series
    return series.to_frame("value").select(
        pl.when(pl.Series(~np.ma.getmaskarray(values))).then(pl.col("value"))
    )["value"]


def _share(tokens_BPE: NDArray[np.int64], present_BPE: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Shares of the layer's tokens; without a value where no step of the bin has any."""
    total_BP1 = tokens_BPE.sum(axis=2, keepdims=True)
    has_share = present_BPE & (total_BP1 > 0)
    share = tokens_BPE / np.maximum(total_BP1, 1)
    none = ~has_share.any(axis=1)
    return {
        "share_min": np.ma.array(np.where(has_share, share, np.inf).min(axis=1), mask=none),
        "share_max": np.ma.array(np.where(has_share, share, -np.inf).max(axis=1), mask=none),
    }


def _bias(bias_BPE: NDArray[np.float64], is_biased_BPE: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Statistics of the finite biases, the number of the others, and the last bias of any kind."""
    finite = np.isfinite(bias_BPE)
    none = ~finite.any(axis=1)
    last = SAMPLES - 1 - is_biased_BPE[:, ::-1].argmax(axis=1)
    return {
        "bias_count": finite.sum(axis=1),
        "bias_sum": np.ma.array(np.where(finite, bias_BPE, 0).sum(axis=1), mask=none),
        "bias_min": np.ma.array(np.where(finite, bias_BPE, np.inf).min(axis=1), mask=none),
        "bias_max": np.ma.array(np.where(finite, bias_BPE, -np.inf).max(axis=1), mask=none),
        "bias_not_finite": (is_biased_BPE & ~finite).sum(axis=1),
        "bias_last": np.ma.array(
            np.take_along_axis(bias_BPE, last[:, None], axis=1)[:, 0], mask=~is_biased_BPE.any(axis=1)
        ),
    }
