"""Loads of the experts of one layer over the steps."""

import polars as pl

from explorer.queries._frames import Cursor, choose_bins, frame


def load_heatmap(cur: Cursor, run_id: str, layer: int, max_bins: int = 200) -> pl.DataFrame:
    """Loads of a layer in at most `max_bins` columns of equally many samples.

    Columns: bin, first_step, last_step, expert, load_ratio (mean tokens over the uniform share, from
    integer sums), min_ratio and max_ratio (over the samples of the bin), tokens (sum), is_dead (not one
    token in the whole bin). Sorted by bin and expert.
    """
    bins = choose_bins(cur, run_id, "expert_loads", max_bins)
    return frame(
        cur,
        """
        WITH ratios AS (
            SELECT e.ordinal // $width AS bin, e.step, e.expert, e.tokens,
                   e.tokens * count(*) OVER same_step / sum(e.tokens) OVER same_step AS ratio
            FROM expert_loads e WHERE e.run_id = $run_id AND e.layer = $layer
            WINDOW same_step AS (PARTITION BY e.ordinal)
        ), b AS (
            SELECT bin, expert, min(step) AS first_step, max(step) AS last_step,
                   sum(tokens)::BIGINT AS tokens, min(ratio) AS min_ratio, max(ratio) AS max_ratio
            FROM ratios GROUP BY bin, expert
        )
        SELECT bin::BIGINT AS bin, first_step, last_step, expert,
               tokens * count(*) OVER same_bin / nullif(sum(tokens) OVER same_bin, 0) AS load_ratio,
               min_ratio, max_ratio, tokens, tokens = 0 AS is_dead
        FROM b
        WINDOW same_bin AS (PARTITION BY bin)
        ORDER BY bin, expert
        """,
        run_id=run_id,
        layer=layer,
        width=bins.width,
    )
