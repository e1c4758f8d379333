"""Metrics derived at ingest: `layer_metrics` for every recorded step, `layer_summary` for the run.

The definitions are those of `explorer/metrics`; a test compares the two.
"""

import duckdb

from explorer.metrics import COLLAPSE_STEPS, LAST_STEPS, last_steps
from explorer.store.expressions import PARTS, figures

WINDOW = LAST_STEPS
"""Number of samples that `max_vio_mean100` averages."""
# The entropy is ln T - sum(c ln c) / T; rounding must not decide at exactly E/2 equal experts.
TIE = 1 + 1e-9

LAYER_FIGURES = (
    "max_vio",
    "effective_experts",
    "coefficient_of_variation",
    "total_variation",
    "idle_experts",
)
"""Metrics of `layer_metrics`; the others are costlier at ingest (Gini sorts) or follow from these."""

LAYER_METRICS = f"""
INSERT INTO raw.layer_metrics
WITH counts AS (
    SELECT step, ordinal, layer, min(tokens) AS smallest,
           max(expert_bias)::DOUBLE - min(expert_bias)::DOUBLE AS spread,
           sum(dropped_tokens)::BIGINT AS dropped, {PARTS}
    FROM raw.expert_loads
    WHERE run_key = $run_key AND ordinal >= $start
    GROUP BY step, ordinal, layer
), fresh AS (
    SELECT step, ordinal, layer, total, largest, smallest, dropped, spread, experts,
           {figures(*LAYER_FIGURES)}
    FROM counts
), before AS (
    SELECT layer, ordinal, max_vio, low_streak FROM raw.layer_metrics
    WHERE run_key = $run_key AND ordinal >= $start - {WINDOW - 1} AND ordinal < $start
), joined AS (
    SELECT *, coalesce(effective_experts <= experts / 2 * {TIE}, false) AS low, false AS old FROM fresh
    UNION ALL BY NAME
    SELECT layer, ordinal, max_vio, true AS low, true AS old FROM before
), windowed AS (
    SELECT *,
           avg(max_vio) OVER (PARTITION BY layer ORDER BY ordinal ROWS {WINDOW - 1} PRECEDING) AS mean100,
           max(ordinal) FILTER (NOT low) OVER (PARTITION BY layer ORDER BY ordinal) AS last_high
    FROM joined
), latest AS (
    SELECT layer, low_streak FROM before WHERE ordinal = $start - 1
)
SELECT $run_key, w.step, w.ordinal, w.layer, w.total, w.largest, w.smallest, w.dropped,
       w.max_vio, w.effective_experts, w.coefficient_of_variation, w.total_variation, w.idle_experts,
       w.spread, w.mean100, w.ordinal - coalesce(w.last_high, $start - 1 - coalesce(l.low_streak, 0))
FROM windowed w LEFT JOIN latest l USING (layer)
WHERE NOT w.old
ORDER BY w.layer, w.ordinal
"""


LAYER_SUMMARY = f"""
INSERT INTO raw.layer_summary
WITH final AS (
    SELECT layer, count(*) AS samples, CASE WHEN count(max_vio) = count(*) THEN avg(max_vio) END AS max_vio,
           avg(effective_experts) AS effective, avg(idle_experts) AS idle
    FROM raw.layer_metrics WHERE run_key = $run_key AND ordinal >= $final
    GROUP BY layer
), streaks AS (
    SELECT layer, max(low_streak) >= {COLLAPSE_STEPS} AS collapsed
    FROM raw.layer_metrics WHERE run_key = $run_key
    GROUP BY layer
), held_out AS (
    SELECT layer, expert, sum(tokens) AS tokens
    FROM raw.eval_loads
    WHERE run_key = $run_key AND split = 'held_out'
      AND step = (SELECT max(step) FROM raw.eval_loads WHERE run_key = $run_key AND split = 'held_out')
    GROUP BY layer, expert
), global AS (
    SELECT layer, (max(tokens) * count(*))::DOUBLE / nullif(sum(tokens), 0)::DOUBLE - 1 AS max_vio
    FROM held_out GROUP BY layer
)
SELECT $run_key, layer, final.samples, final.max_vio, final.effective, final.idle, streaks.collapsed,
       global.max_vio
FROM final JOIN streaks USING (layer) FULL JOIN global USING (layer)
ORDER BY layer
"""


def derive(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, samples: int) -> None:
    """Add the metrics of the samples from ordinal `start` to `samples`, and summarise the run."""
    if samples > start:
        cur.execute(LAYER_METRICS, {"run_key": run_key, "start": start})
    cur.execute("DELETE FROM raw.layer_summary WHERE run_key = ?", [run_key])
    final = samples - last_steps(samples)
    cur.execute(LAYER_SUMMARY, {"run_key": run_key, "final": final})
