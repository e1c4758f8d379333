"""Language loss in training and on held-out text."""

from collections.abc import Sequence

import polars as pl

from explorer.errors import one_of
from explorer.queries._frames import AXES, Cursor, ViewBins, choose_bins, frame, place
from explorer.store.pyramids import STEPS

LASTING = """
    SELECT max(first_step) FROM episodes
    WHERE run_id = $run_id AND kind = 'odd_loss' AND end_step IS NULL
"""


def loss_series(cur: Cursor, run_ids: Sequence[str], max_bins: int = 300, x: str = "step") -> pl.DataFrame:
    """Training loss of some runs, in at most `max_bins` bins each.

    Columns: run_id, bin, first_step, last_step, x (step, tokens seen or seconds at the end of the bin),
    lm_loss (mean of the finite ones, nats per token; NULL without one), lm_loss_min, lm_loss_max, perplexity,
    perplexity_min, perplexity_max (exp of the three), aux_loss (mean, unscaled; NULL without one), samples,
    lm_loss_not_finite (samples whose loss is NaN or infinite), not_finite_from (in every row of a run the
    first step from which no loss is finite to the end; NULL otherwise). Sorted by run and bin.
    Raises ConfigError for an unknown `x`.
    """
    one_of("x", x, AXES)
    end = {"step": "last_step", "tokens": "tokens_seen_last", "time": "wall_time_s_last"}[x]
    pyramid = STEPS.only("lm_loss", "aux_loss", end)
    series = []
    for run_id in run_ids or [""]:
        bins = choose_bins(cur, run_id, pyramid, max_bins)
        series.append(frame(cur, _losses_sql(bins, end), **bins.params))
    return pl.concat(series)


def _losses_sql(bins: ViewBins, end: str) -> str:
    """end: the column of the x axis."""
    return f"""
        WITH bins AS ({bins.merged()}),
        b AS (
            SELECT *, lm_loss_sum / nullif(lm_loss_count, 0) AS lm_loss,
                   aux_loss_sum / nullif(aux_loss_count, 0) AS aux_loss
            FROM bins
        )
        SELECT $run_id AS run_id, bin, first_step, last_step, {end}::DOUBLE AS x,
               lm_loss, lm_loss_min, lm_loss_max, exp(lm_loss) AS perplexity,
               exp(lm_loss_min) AS perplexity_min, exp(lm_loss_max) AS perplexity_max, aux_loss, samples,
               lm_loss_not_finite, ({LASTING}) AS not_finite_from
        FROM b ORDER BY bin
    """


def eval_series(cur: Cursor, run_ids: Sequence[str], x: str = "step") -> pl.DataFrame:
    """Held-out loss at every evaluation.

    Columns: run_id, step (updates before the evaluation), x (after those updates), domain, lm_loss (nats
    per token), perplexity, bits_per_byte (NULL where the bytes are unknown). Rows with domain `all`
    weigh every domain equally: means of lm_loss and bits_per_byte, and exp of the mean loss. Sorted by
    run, step and domain.
    Raises ConfigError for an unknown `x`.
    """
    sql = """
        WITH domains AS (
            SELECT step, domain, lm_loss,
                   lm_loss * num_tokens / nullif(num_bytes * ln(2), 0) AS bits_per_byte
            FROM evals WHERE run_id = $run_id AND split = 'held_out'
        ), every AS (
            SELECT step, domain, lm_loss, bits_per_byte FROM domains
            UNION ALL
            SELECT step, 'all', avg(lm_loss), avg(bits_per_byte) FROM domains GROUP BY step
        )
        SELECT $run_id AS run_id, step, NULL::DOUBLE AS x, domain, lm_loss, exp(lm_loss) AS perplexity,
               bits_per_byte, step - 1 AS last_update
        FROM every ORDER BY step, domain
    """
    return pl.concat(_eval_series(cur, sql, run_id, x) for run_id in run_ids or [""])


def _eval_series(cur: Cursor, sql: str, run_id: str, x: str) -> pl.DataFrame:
    """The evaluation at s follows the update of step s - 1; at s = 0 no tokens have been seen."""
    rows = frame(cur, sql, run_id=run_id)
    rows = place(cur, rows, run_id, x, at="step" if x == "step" else "last_update").drop("last_update")
    return rows.with_columns(x=pl.when(pl.col("step") == 0).then(0.0).otherwise(pl.col("x")))
