"""Check that the counts of a run add up to K x T."""

import polars as pl

from explorer.metrics.sums import CountSums, is_off, nearest_ratio
from explorer.queries._frames import WIDTH, Cursor, first_row, frame

SAMPLES = 64
"""Number of recorded steps examined at the beginning and at the end of a run."""

PROMISED = """
    SELECT coalesce(samples, 0)
    FROM runs LEFT JOIN (SELECT * FROM progress WHERE table_name = 'expert_loads') USING (run_id)
    WHERE run_id = $run_id AND top_k > 0
      AND (config ->> '$.model.top_p') IS NULL
      AND (config ->> '$.model.capacity_factor') IS NULL
      AND coalesce(config ->> '$.model.random_second', 'false') = 'false'
      AND coalesce(config ->> '$.model.routing', 'token_choice') IN ('token_choice', 'hash', 'random')
      AND coalesce(balancer_family, '') NOT IN ('expert_choice', 'expert_threshold', 'dense')
"""
"""Samples of a run in which every token has K experts; no rows for other routings."""

TOTALS = f"""
    WITH counted AS (
        SELECT step, layer, ordinal, tokens, dropped_tokens FROM layer_metrics
        WHERE run_id = $run_id AND (ordinal < {SAMPLES} OR ordinal >= $samples - {SAMPLES})
    ), seen AS (
        SELECT step, (tokens_seen - coalesce(lag(tokens_seen) OVER one, CASE WHEN step = 0 THEN 0 END))
                     / (step - coalesce(lag(step) OVER one, -1)) AS tokens
        FROM steps WHERE run_id = $run_id AND (
            step <= (SELECT max(step) FROM counted WHERE ordinal < {SAMPLES})
            OR step >= (
                SELECT min(step) FROM counted WHERE ordinal >= greatest({SAMPLES}, $samples - {SAMPLES})
            )
        )
        WINDOW one AS (ORDER BY step)
    )
    SELECT c.layer, c.step, c.tokens AS counted, c.dropped_tokens AS dropped,
           least(r.top_k, {WIDTH.format(layer="c.layer")}) AS k,
           nullif(r.tokens_per_step, 0)::DOUBLE AS planned, nullif(s.tokens, 0)::DOUBLE AS seen
    FROM counted c LEFT JOIN seen s USING (step)
    CROSS JOIN (SELECT * FROM runs WHERE run_id = $run_id) r
    ORDER BY c.layer, c.step
"""


def count_sums(cur: Cursor, run_id: str) -> CountSums | None:
    """Layers whose counts do not add up to K x T, from the steps at both ends of the run; None if all do.

    T is `tokens_per_step`, or the increase of `tokens_seen`, since a batch may grow. Counts after capacity
    include dropped assignments. Not checked: routings with varying numbers of experts per token, and
    slightly low counts that vary by step, as with unrecorded dropped tokens.
    """
    row = first_row(cur, PROMISED, run_id=run_id)
    if row is None:
        return None
    rows = frame(cur, TOTALS, run_id=run_id, samples=int(row[0]))
    if rows.is_empty():
        return None
    counted, k = rows["counted"].to_numpy(), rows["k"].to_numpy()
    whole = counted + rows["dropped"].to_numpy()
    ratio, promised = nearest_ratio(
        [counted, whole], [k * rows["planned"].to_numpy(), k * rows["seen"].to_numpy()]
    )
    if (ratio == 1).all():
        return None
    rows = rows.with_columns(ratio=pl.Series(ratio), promised=pl.Series(promised))
    layers = rows.partition_by("layer", maintain_order=True)
    off = [layer for layer in layers if is_off(layer["ratio"].to_numpy())]
    if not off:
        return None
    deviations = pl.concat(off).filter(pl.col("ratio").is_finite()).sort("ratio", "step")
    middle = deviations.row((len(deviations) - 1) // 2, named=True)
    return CountSums(
        ratio=middle["ratio"],
        counted=round(middle["ratio"] * middle["promised"]),
        promised=round(middle["promised"]),
        top_k=middle["k"],
        step=middle["step"],
        layers=tuple(int(layer["layer"][0]) for layer in off),
        all_layers=len(off) == len(layers),
    )


def shared_expert(cur: Cursor, run_id: str) -> int | None:
    """The number of an expert with every token of every layer from the first step on, or None.

    That is a shared expert counted as a routed one: a collapsing router does not start so, nor
    collapse to the same number in all layers. Only for runs with several layers and K > 1.
    """
    if first_row(cur, PROMISED, run_id=run_id) is None or not _has_full_experts(cur, run_id):
        return None
    row = first_row(
        cur,
        f"""
        WITH loads AS (
            SELECT l.expert, l.layer, l.tokens * r.top_k = m.tokens AS is_full, r.num_moe_layers
            FROM expert_loads l JOIN layer_metrics m USING (run_id, layer, step) JOIN runs r USING (run_id)
            WHERE l.run_id = $run_id AND l.ordinal < {SAMPLES} AND m.tokens > 0
              AND r.top_k > 1 AND r.num_experts > r.top_k AND r.num_moe_layers > 1
        )
        SELECT expert FROM loads GROUP BY expert
        HAVING bool_and(is_full) AND count(DISTINCT layer) = any_value(num_moe_layers)
        ORDER BY expert DESC LIMIT 1
        """,
        run_id=run_id,
    )
    return None if row is None else int(row[0])


def _has_full_experts(cur: Cursor, run_id: str) -> bool:
    """Whether the busiest expert of every layer could have every token; reads no row of an expert."""
    row = first_row(
        cur,
        f"""
        SELECT bool_and(m.max_tokens * r.top_k >= m.tokens)
        FROM layer_metrics m JOIN runs r USING (run_id)
        WHERE m.run_id = $run_id AND m.ordinal < {SAMPLES} AND m.tokens > 0
        """,
        run_id=run_id,
    )
    return row is not None and bool(row[0])
