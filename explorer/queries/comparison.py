"""Runs beside each other: one row of final figures each."""

from collections.abc import Sequence

import polars as pl

from explorer.queries._frames import Cursor, frame

SUMMARY = """
    WITH chosen AS (
        SELECT *, coalesce(list_position($run_ids::VARCHAR[], run_id), 0) AS position FROM runs
        WHERE $run_ids IS NULL OR list_contains($run_ids::VARCHAR[], run_id)
    ), last_eval AS (
        SELECT run_id, max(step) AS step FROM evals WHERE split = 'held_out' GROUP BY run_id
    ), held_out AS (
        SELECT run_id, avg(lm_loss) AS lm_loss,
               avg(lm_loss * num_tokens / nullif(num_bytes * ln(2), 0)) AS bits_per_byte
        FROM evals JOIN last_eval USING (run_id, step) WHERE split = 'held_out'
        GROUP BY run_id
    ), layers AS (
        SELECT run_id,
               CASE WHEN count(max_vio_batch) = count(*) THEN avg(max_vio_batch) END AS max_vio_batch,
               CASE WHEN count(max_vio_global) = count(*) THEN avg(max_vio_global) END AS max_vio_global,
               arg_max(layer, max_vio_global) AS worst_layer, max(max_vio_global) AS worst_max_vio,
               avg(effective_experts) AS effective_experts
        FROM layer_summary GROUP BY run_id
    )
    SELECT c.run_id, name, balancer, balancer_label, balancer_family, count_scope, seed, pair_key, preset,
           state, exp(lm_loss) AS perplexity, lm_loss, bits_per_byte, max_vio_batch, max_vio_global,
           worst_layer, worst_max_vio, effective_experts, tokens_per_second, wall_time_s, last_step, num_steps
    FROM chosen c LEFT JOIN held_out USING (run_id) LEFT JOIN layers USING (run_id)
    ORDER BY position, created_at DESC NULLS LAST, run_id
"""


def summary(cur: Cursor, run_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """One row a run, in the order of `run_ids`, or of all runs, newest first.

    Columns: run_id, name, balancer, balancer_label, balancer_family, count_scope, seed, pair_key, preset,
    state; perplexity, lm_loss, bits_per_byte (last held-out evaluation, domains weighted equally);
    max_vio_batch (end of training) and max_vio_global (last held-out counts), means over layers;
    worst_layer and worst_max_vio (highest max_vio_global); effective_experts (end of training, mean over
    layers); tokens_per_second, wall_time_s, last_step, num_steps. NULL where a figure is not available.
    Definitions: `explorer/metrics.py`.
    """
    return frame(cur, SUMMARY, run_ids=None if run_ids is None else list(run_ids))
