"""Biases of the experts of one layer over the steps."""

import polars as pl

from explorer.queries._frames import Cursor, choose_bins, frame


def bias_trajectories(cur: Cursor, run_id: str, layer: int, max_bins: int = 300) -> pl.DataFrame:
    """Bias of every expert of a layer in at most `max_bins` bins; empty without a bias rule.

    Columns: bin, first_step, last_step, expert, bias_mean, bias_min, bias_max, bias_last (at the last
    sample of the bin). Sorted by expert and bin. Bins without a bias are left out.
    """
    bins = choose_bins(cur, run_id, "expert_loads", max_bins)
    return frame(
        cur,
        """
        SELECT (ordinal // $width)::BIGINT AS bin, min(step) AS first_step, max(step) AS last_step, expert,
               avg(expert_bias) AS bias_mean, min(expert_bias)::DOUBLE AS bias_min,
               max(expert_bias)::DOUBLE AS bias_max, arg_max(expert_bias, step)::DOUBLE AS bias_last
        FROM expert_loads
        WHERE run_id = $run_id AND layer = $layer AND expert_bias IS NOT NULL
        GROUP BY ordinal // $width, expert
        ORDER BY expert, bin
        """,
        run_id=run_id,
        layer=layer,
        width=bins.width,
    )
