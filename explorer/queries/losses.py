"""Language loss in training and on held-out text."""

from collections.abc import Sequence

import polars as pl

from explorer.queries._frames import AT_END, Cursor, axis, choose_bins, frame
from explorer.store.pyramids import STEPS


def loss_series(cur: Cursor, run_ids: Sequence[str], max_bins: int = 300, x: str = "step") -> pl.DataFrame:
    """Training loss of some runs, in at most `max_bins` bins each.

    Columns: run_id, bin, first_step, last_step, x (step, tokens seen or seconds at the end of the bin),
    lm_loss (mean, nats per token), lm_loss_min, lm_loss_max, perplexity, perplexity_min, perplexity_max
    (exp of the three), aux_loss (mean, unscaled; NULL without one), samples. Sorted by run and bin.
    Raises ConfigError for an unknown `x`.
    """
    sql = f"""
        WITH bins AS ({STEPS.binned()}),
        b AS (
            SELECT *, lm_loss_sum / nullif(lm_loss_count, 0) AS lm_loss,
                   aux_loss_sum / nullif(aux_loss_count, 0) AS aux_loss
            FROM bins
        )
        SELECT $run_id AS run_id, bin, first_step, last_step, {axis(x)}::DOUBLE AS x,
               lm_loss, lm_loss_min, lm_loss_max, exp(lm_loss) AS perplexity,
               exp(lm_loss_min) AS perplexity_min, exp(lm_loss_max) AS perplexity_max, aux_loss, samples
        FROM b {AT_END}
        ORDER BY bin
    """
    return pl.concat(
        frame(cur, sql, **choose_bins(cur, run_id, STEPS, max_bins)) for run_id in run_ids or [""]
    )


def eval_series(cur: Cursor, run_ids: Sequence[str], x: str = "step") -> pl.DataFrame:
    """Held-out loss at every evaluation.

    Columns: run_id, step (updates before the evaluation), x (after those updates), domain, lm_loss (nats
    per token), perplexity, bits_per_byte (NULL where the bytes are not known). Rows with domain `all`
    weigh every domain equally: means of lm_loss and bits_per_byte, and exp of the mean loss. Sorted by
    run, step and domain.
    Raises ConfigError for an unknown `x`.
    """
    # The evaluation at s follows the step s - 1; before any step nothing was seen.
    end = "b.step" if x == "step" else f"CASE WHEN b.step = 0 THEN 0 ELSE {axis(x)} END"
    sql = f"""
        WITH domains AS (
            SELECT step, domain, lm_loss,
                   lm_loss * num_tokens / nullif(num_bytes * ln(2), 0) AS bits_per_byte
            FROM evals WHERE run_id = $run_id AND split = 'held_out'
        ), b AS (
            SELECT step, step - 1 AS last_step, domain, lm_loss, bits_per_byte FROM domains
            UNION ALL
            SELECT step, step - 1, 'all', avg(lm_loss), avg(bits_per_byte) FROM domains GROUP BY step
        )
        SELECT $run_id AS run_id, b.step, {end}::DOUBLE AS x, domain, lm_loss,
               exp(lm_loss) AS perplexity, bits_per_byte
        FROM b {AT_END}
        ORDER BY b.step, domain
    """
    return pl.concat([frame(cur, sql, run_id=run_id) for run_id in run_ids or [""]])
