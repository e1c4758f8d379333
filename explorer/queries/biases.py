"""Biases of the experts of one layer over steps."""

import polars as pl

from explorer.queries._frames import Cursor, choose_bins, frame
from explorer.store.pyramids import LOADS


def bias_trajectories(cur: Cursor, run_id: str, layer: int, max_bins: int = 300) -> pl.DataFrame:
    """Bias of every expert of a layer in at most `max_bins` bins; empty without a bias rule.

    Columns: bin, first_step, last_step, expert, bias_mean, bias_min, bias_max (over the finite biases of the
    bin; NULL without one), bias_last (at the last sample of the bin, finite or not), bias_not_finite (samples
    whose bias is NaN or infinite). Sorted by expert and bin. Bins without a bias are left out.
    """
    bins = choose_bins(cur, run_id, LOADS.only("bias"), max_bins)
    return frame(
        cur,
        f"""
        SELECT bin, first_step, last_step, expert, bias_sum / nullif(bias_count, 0) AS bias_mean, bias_min,
               bias_max, bias_last, bias_not_finite
        FROM ({bins.merged("layer = $layer")}) WHERE bias_count + bias_not_finite > 0
        ORDER BY expert, bin
        """,
        layer=layer,
        **bins.params,
    )
