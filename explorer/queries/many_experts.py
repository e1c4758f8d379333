"""Loads and biases of a layer with very many experts: the extremes alone, the rest in groups.

The size of an answer depends on the number of rows asked for and not on the number of experts.
"""

import numpy as np
import polars as pl

from explorer.queries._frames import Cursor, choose_bins, frame
from explorer.queries._layer_bins import layer_bins
from explorer.queries.biases import has_bias, trajectories
from explorer.queries.loads import load_heatmap
from explorer.store.pyramids import LOADS

ALONE = 32
"""Experts with a row of their own: the busiest."""
GROUPS = 32
"""Rows of the remaining experts, neighbouring ranks together."""
EACH_END = 4
"""Trajectories drawn of the highest and of the lowest final biases."""


def load_ranks(
    cur: Cursor, run_id: str, layer: int, max_bins: int = 200, alone: int = ALONE, groups: int = GROUPS
) -> pl.DataFrame:
    """Loads of a layer by rank of the total load: the busiest `alone` experts, the rest in `groups` rows.

    Columns: bin, first_step, last_step, row (0 is the busiest), first_rank, last_rank (ranks from 1),
    expert (NULL for a group), load_ratio (mean over the experts of the row, relative to the uniform share,
    from integer sums), min_ratio and max_ratio (over its experts and the samples of the bin), tokens (sum),
    is_dead (no token in the whole bin), busiest (the expert of the row with the most tokens in the bin),
    busiest_ratio, idle (experts without a token in the bin), experts (of the row). Sorted by bin and row.
    """
    bins = choose_bins(cur, run_id, LOADS.only("tokens", "share"), max_bins)
    return frame(
        cur,
        f"""
        WITH b AS ({bins.merged("layer = $layer")}),
        ranked AS (
            SELECT expert, row_number() OVER (ORDER BY sum(tokens_sum) DESC, expert) - 1 AS rank,
                   count(*) OVER () AS width
            FROM b GROUP BY expert
        ), placed AS (
            SELECT expert, rank, width, CASE
                WHEN rank < $alone THEN rank
                ELSE $alone + (rank - $alone) * least($groups, width - $alone) // (width - $alone)
            END AS row
            FROM ranked
        ), totals AS (SELECT bin, sum(tokens_sum) AS total FROM b GROUP BY bin)
        SELECT bin, min(first_step) AS first_step, max(last_step) AS last_step, row::INTEGER AS row,
               min(rank)::INTEGER + 1 AS first_rank, max(rank)::INTEGER + 1 AS last_rank,
               CASE WHEN count(*) = 1 THEN min(expert) END AS expert,
               sum(tokens_sum) * any_value(width) / (count(*) * nullif(any_value(total), 0)) AS load_ratio,
               min(share_min) * any_value(width) AS min_ratio,
               max(share_max) * any_value(width) AS max_ratio,
               sum(tokens_sum)::BIGINT AS tokens, sum(tokens_sum) = 0 AS is_dead,
               min_by(expert, (-tokens_sum, expert)) AS busiest,
               max(tokens_sum) * any_value(width) / nullif(any_value(total), 0) AS busiest_ratio,
               count(*) FILTER (tokens_sum = 0)::INTEGER AS idle, count(*)::INTEGER AS experts
        FROM b JOIN placed USING (expert) JOIN totals USING (bin)
        GROUP BY bin, row
        ORDER BY bin, row
        """,
        layer=layer,
        alone=alone,
        groups=groups,
        **bins.params,
    )


def load_bin(cur: Cursor, run_id: str, layer: int, max_bins: int, step: int) -> pl.DataFrame:
    """The rows of `loads.load_heatmap` of one bin: the last one that begins at or before `step`.

    It is all that a sentence on the loads of one place needs.
    """
    cells = load_heatmap(cur, run_id, layer, max_bins)
    begun = cells.filter(pl.col("first_step") <= step)["bin"].max()
    return cells.filter(pl.col("bin") == pl.lit(begun, dtype=pl.Int64))


def bias_band(cur: Cursor, run_id: str, layer: int, max_bins: int = 300) -> pl.DataFrame:
    """How the biases of a layer spread in at most `max_bins` bins; empty without a bias rule.

    Columns: first_step, last_step, low, p10, median, p90, high: over the experts, of their mean finite
    bias in the bin; experts (with such a bias). Sorted by bin.
    """
    bins = choose_bins(cur, run_id, LOADS.only("bias"), max_bins)
    return frame(
        cur,
        f"""
        WITH b AS (
            SELECT bin, first_step, last_step, bias_sum / bias_count AS bias
            FROM ({bins.merged("layer = $layer")}) WHERE bias_count > 0
        )
        SELECT min(first_step) AS first_step, max(last_step) AS last_step, min(bias) AS low,
               quantile_cont(bias, 0.1) AS p10, median(bias) AS median, quantile_cont(bias, 0.9) AS p90,
               max(bias) AS high, count(*)::INTEGER AS experts
        FROM b GROUP BY bin ORDER BY bin
        """,
        layer=layer,
        **bins.params,
    )


def extreme_biases(
    cur: Cursor, run_id: str, layer: int, max_bins: int = 300, each: int = EACH_END, also: int = -1
) -> pl.DataFrame:
    """`biases.bias_trajectories` of the experts whose final biases are the `each` highest or lowest.

    also: an expert that is included whatever its bias; -1 for none.
    """
    bins = layer_bins(cur, run_id, layer, max_bins, "bias")
    keep = has_bias(bins)
    rows = np.flatnonzero(keep.any(1))
    if not len(rows):
        return trajectories(bins, keep)
    final = bins.values["bias_last"][rows[-1]]
    candidates = np.flatnonzero(keep[rows[-1]] & bins.values["has_last"][rows[-1]] & np.isfinite(final))
    up, down = (candidates[np.lexsort((candidates, sign * final[candidates]))] for sign in (1, -1))
    is_extreme = np.isin(np.arange(len(final)), [*up[:each], *down[:each], also])
    return trajectories(bins, keep & is_extreme)


def bias_ends(cur: Cursor, run_id: str, layer: int, max_bins: int = 300) -> pl.DataFrame:
    """The last bin of `biases.bias_trajectories`, and the bins with a bias that is NaN or infinite.

    It is all that a sentence on the final biases needs.
    """
    bins = layer_bins(cur, run_id, layer, max_bins, "bias")
    keep = has_bias(bins)
    rows = np.flatnonzero(keep.any(1))
    is_last = np.arange(len(keep)) == (rows[-1] if len(rows) else -1)
    return trajectories(bins, keep & (is_last[:, None] | (bins.values["bias_not_finite"] > 0)))
