"""Expert load by domain of the text."""

import polars as pl

from explorer.queries._frames import Cursor, frame


def domain_expert(cur: Cursor, run_id: str, layer: int, step: int | None = None) -> pl.DataFrame:
    """Held-out loads of a layer by domain.

    step: an evaluation's step; None takes the last one. Columns: domain, expert, tokens, load_ratio
    (tokens over the domain's uniform share). Sorted by domain and expert.
    """
    return frame(
        cur,
        """
        WITH here AS (
            SELECT step, domain, expert, tokens FROM eval_loads
            WHERE run_id = $run_id AND layer = $layer AND split = 'held_out'
        ), counts AS (
            SELECT domain, expert, tokens FROM here
            WHERE step = coalesce($step, (SELECT max(step) FROM here))
        )
        SELECT domain, expert, tokens,
               tokens * count(*) OVER one / nullif(sum(tokens) OVER one, 0) AS load_ratio
        FROM counts WINDOW one AS (PARTITION BY domain)
        ORDER BY domain, expert
        """,
        run_id=run_id,
        layer=layer,
        step=step,
    )
