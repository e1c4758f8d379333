"""Biases of the experts of one layer over steps."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor
from explorer.queries._layer_bins import LayerBins, layer_bins


def bias_trajectories(cur: Cursor, run_id: str, layer: int, max_bins: int = 300) -> pl.DataFrame:
    """Bias of every expert of a layer in at most `max_bins` bins; empty without a bias rule.

    Columns: bin, first_step, last_step, expert, bias_mean, bias_min, bias_max (over the finite biases of the
    bin; NULL without one), bias_last (at the last sample of the bin, finite or not), bias_not_finite (samples
    whose bias is NaN or infinite). Sorted by expert and bin. Bins without a bias are left out.
    """
    bins = layer_bins(cur, run_id, layer, max_bins, "bias")
    return trajectories(bins, has_bias(bins))


def has_bias(bins: LayerBins) -> NDArray[np.bool_]:
    """[B, E] whether an expert has a bias in a bin, finite or not."""
    return np.asarray(bins.values["bias_count"] + bins.values["bias_not_finite"] > 0)


def trajectories(bins: LayerBins, keep: NDArray[np.bool_]) -> pl.DataFrame:
    """The rows of `bias_trajectories` where `keep` [B, E] holds."""
    names = ("bias_min", "bias_max", "bias_last", "bias_not_finite")
    with np.errstate(invalid="ignore"):
        mean = bins.values["bias_sum"] / bins.values["bias_count"]
    columns = {"bias_mean": mean, **{name: bins.values[name] for name in names}}
    return bins.frame(columns, keep, by_expert=True)
