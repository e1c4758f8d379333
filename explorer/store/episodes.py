"""Episodes of a run, detected at ingest: an expert is idle, a layer collapsed, or the loss too high.

An episode (a row of the table `episodes`) is a maximal run of consecutive samples (recorded steps, or
windows of them) that meet a condition. Only new samples are examined, and an episode that begins at their
edge is joined with one that ended there before. So the result does not depend on how rows were divided
into parts, and a long run can be ingested in pieces. Short episodes are kept only while they last, since
they may grow. `explorer/queries/events.py` turns them into events; conditions and thresholds:
`explorer/metrics/events.py`.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace

import duckdb

from explorer import metrics
from explorer.records.tables import EXPERT, LAYER, RUN_ID, Column
from explorer.routing.outranking import outranking_spans
from explorer.store.turning import collect_turning

CHUNK_ROWS = 4_000_000
"""Rows of loads examined together, so that their windows fit into memory."""

EPISODES: tuple[Column, ...] = (
    RUN_ID,
    Column("kind", "VARCHAR", "idle, low, wide, turning, odd_bias, odd_loss, spike or settled", key=True),
    Column("layer", LAYER.sql_type, "layer concerned, or NULL", key=True),
    Column("expert", EXPERT.sql_type, "expert concerned, or NULL", key=True),
    Column("first_step", "BIGINT", "first step of the episode", key=True),
    Column("last_step", "BIGINT", "last step of the episode so far"),
    Column("end_step", "BIGINT", "first recorded step after it; NULL while it lasts"),
    Column("samples", "BIGINT", "recorded steps in it"),
    Column("peak", "DOUBLE", "highest value: spread, share that turns, the bias or loss itself, nats, share"),
    Column("peak_step", "BIGINT", "first step with that value"),
    Column("first_ordinal", "INTEGER", "ordinal of the first step"),
    Column("last_ordinal", "INTEGER", "ordinal of the last step"),
)

# `$outranks` is a placeholder for a condition on the step, filled in by `update_episodes`.
# A condition gives one row per sample that meets it; `place` counts samples, so neighbours differ by one.
ONE_SAMPLE = """ordinal AS place, ordinal AS first_ordinal, ordinal AS last_ordinal,
           step AS first_step, step AS last_step"""

OF_LOADS = f"""
    SELECT 'idle' AS kind, layer, expert, {ONE_SAMPLE}, NULL::DOUBLE AS value
    FROM raw.expert_loads
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop AND tokens = 0
    UNION ALL
    SELECT 'low', layer, NULL, {ONE_SAMPLE}, NULL
    FROM raw.layer_metrics
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop AND low_streak > 0
    UNION ALL
    SELECT 'wide', layer, NULL, {ONE_SAMPLE}, bias_spread
    FROM raw.layer_metrics
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop
      AND isfinite(bias_spread) AND bias_spread > {metrics.WIDE_SPREAD} AND $outranks
"""

OF_WINDOWS = f"""
    SELECT 'turning' AS kind, layer, NULL::INTEGER AS expert, place,
           place * {metrics.OSCILLATION_STEPS} AS first_ordinal,
           (place + 1) * {metrics.OSCILLATION_STEPS} - 1 AS last_ordinal, first_step, last_step, value
    FROM turning WHERE place * {metrics.OSCILLATION_STEPS} < $stop
"""

OF_BIASES = f"""
    SELECT 'odd_bias' AS kind, layer, expert, {ONE_SAMPLE}, expert_bias::DOUBLE AS value
    FROM raw.expert_loads
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop AND NOT isfinite(expert_bias)
"""

OF_LOSSES = f"""
    WITH near AS (
        SELECT ordinal, step, CASE WHEN isfinite(lm_loss) THEN lm_loss END AS loss FROM raw.steps
        WHERE run_key = $run_key AND ordinal >= $start - {metrics.SPIKE_STEPS} AND ordinal < $stop
    ), judged AS (
        SELECT ordinal, step, loss - median(loss) OVER before AS value, mad(loss) OVER before AS deviation,
               count(loss) OVER before AS known
        FROM near WINDOW before AS (
            ORDER BY ordinal ROWS BETWEEN {metrics.SPIKE_STEPS} PRECEDING AND 1 PRECEDING
        )
    )
    SELECT 'odd_loss' AS kind, NULL::INTEGER AS layer, NULL::INTEGER AS expert, {ONE_SAMPLE},
           lm_loss::DOUBLE AS value
    FROM raw.steps
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop AND NOT isfinite(lm_loss)
    UNION ALL
    SELECT 'spike', NULL, NULL, {ONE_SAMPLE}, value
    FROM judged
    WHERE ordinal >= $start AND known * 2 >= {metrics.SPIKE_STEPS} AND value >= {metrics.SPIKE_NATS}
      AND value > {metrics.SPIKE_DEVIATIONS} * 1.4826 * deviation
"""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Conditions that are evaluated on the same samples."""

    least: dict[str, int]
    """Kind -> minimum number of samples of a finished episode."""
    flagged: str
    """SQL of the samples that meet a condition; parameters run_key, start and stop (ordinals)."""
    numbered: str
    """Table that maps ordinals to steps."""
    width: int = 1
    """Samples per window; only complete windows are examined."""


LOADS = Search(
    least={"idle": metrics.DEAD_STEPS, "low": metrics.COLLAPSE_STEPS, "wide": 1},
    flagged=OF_LOADS,
    numbered="layer_metrics",
)
WINDOWS = Search(
    least={"turning": 1}, flagged=OF_WINDOWS, numbered="layer_metrics", width=metrics.OSCILLATION_STEPS
)
BIASES = Search(least={"odd_bias": 1}, flagged=OF_BIASES, numbered="layer_metrics")
LOSSES = Search(least={"odd_loss": 1, "spike": 1}, flagged=OF_LOSSES, numbered="steps")

PIECES = """
CREATE OR REPLACE TEMP TABLE pieces AS
WITH flagged AS ({flagged}), islands AS (
    SELECT *, place - row_number() OVER (PARTITION BY kind, layer, expert ORDER BY place) AS island
    FROM flagged
)
SELECT kind, layer, expert, min(first_ordinal) AS first_ordinal, max(last_ordinal) AS last_ordinal,
       min(first_step) AS first_step, max(last_step) AS last_step, max(value) AS peak,
       arg_max(first_step, (value, -first_step)) FILTER (value IS NOT NULL) AS peak_step
FROM islands GROUP BY kind, layer, expert, island
UNION ALL
SELECT kind, layer, expert, first_ordinal, last_ordinal, first_step, last_step, peak, peak_step
FROM raw.episodes WHERE run_key = $run_key AND kind IN ({kinds}) AND last_ordinal = $start - 1
"""

JOINED = """
INSERT INTO raw.episodes BY NAME
WITH joined AS (
    SELECT kind, layer, expert, min(first_ordinal) AS first_ordinal, max(last_ordinal) AS last_ordinal,
           min(first_step) AS first_step, max(last_step) AS last_step, max(peak) AS peak,
           arg_max(peak_step, (peak, -peak_step)) FILTER (peak IS NOT NULL) AS peak_step
    FROM pieces GROUP BY kind, layer, expert, greatest(first_ordinal, $start)
), kept AS (
    SELECT *, last_ordinal - first_ordinal + 1 AS samples FROM joined
), ends AS (
    SELECT DISTINCT ordinal, step FROM raw.{numbered}
    WHERE run_key = $run_key AND ordinal >= $start AND ordinal < $stop
      AND ordinal IN (SELECT last_ordinal + 1 FROM kept)
)
SELECT $run_key AS run_key, k.*, e.step AS end_step
FROM kept k LEFT JOIN ends e ON e.ordinal = k.last_ordinal + 1
WHERE k.last_ordinal = $stop - 1 OR k.samples >= CASE kind {least} END
ORDER BY kind, layer, expert, first_ordinal
"""

# A spread that fluctuates around its threshold would give an episode every second step; the first one counts.
FIRST_ONLY = """
DELETE FROM raw.episodes s WHERE run_key = $run_key AND kind = 'wide' AND EXISTS (
    SELECT 1 FROM raw.episodes o WHERE o.run_key = $run_key AND o.kind = 'wide' AND o.layer = s.layer
    AND o.first_ordinal < s.first_ordinal
)
"""

SETTLED = f"""
INSERT INTO raw.episodes BY NAME
WITH choices AS (
    SELECT step, token, layer, list_distinct(
        list_filter(selected_experts, lambda e: e >= 0 AND (num_experts IS NULL OR e < num_experts))
    ) AS chosen
    FROM raw.probe_scores JOIN raw.runs USING (run_key) WHERE run_key = $run_key
), final AS (
    SELECT token, layer, chosen AS last FROM choices WHERE step = (SELECT max(step) FROM choices)
), shares AS (
    SELECT step, layer, sum(len(list_intersect(chosen, last))) / nullif(sum(len(last)), 0) AS share
    FROM choices JOIN final USING (token, layer)
    WHERE step < (SELECT max(step) FROM choices) GROUP BY step, layer
)
SELECT $run_key AS run_key, 'settled' AS kind, layer, min(step) AS first_step, min(step) AS last_step,
       (SELECT max(step) FROM choices) AS end_step, arg_min(share, step) AS peak, min(step) AS peak_step
FROM shares WHERE share >= {metrics.SETTLED_SHARE} GROUP BY layer ORDER BY layer
"""


def update_episodes(
    cur: duckdb.DuckDBPyConnection,
    run_key: int,
    loads: tuple[int, int],
    losses: tuple[int, int],
    tables: Collection[str],
) -> None:
    """Update the episodes of a run, inside the open transaction.

    loads, losses: samples of `expert_loads` and of `steps` before and now; tables: those with new rows.
    """
    if loads[0] < loads[1]:
        searched = replace(LOADS, flagged=LOADS.flagged.replace("$outranks", _outranks(cur, run_key)))
        for start, stop in _chunks(cur, run_key, *loads):
            is_biased, is_wide, is_odd = _biases(cur, run_key, start, stop)
            _extend(cur, run_key, searched, start, stop)
            if is_biased:
                _extend(cur, run_key, WINDOWS, start, stop)
            if is_odd:
                _extend(cur, run_key, BIASES, start, stop)
            if is_wide:
                cur.execute(FIRST_ONLY, {"run_key": run_key})
    if losses[0] < losses[1]:
        _extend(cur, run_key, LOSSES, *losses)
    if "probe_scores" in tables:
        cur.execute("DELETE FROM raw.episodes WHERE run_key = ? AND kind = 'settled'", [run_key])
        cur.execute(SETTLED, {"run_key": run_key})
    cur.execute("DROP TABLE IF EXISTS pieces")
    cur.execute("DROP TABLE IF EXISTS turning")


def _chunks(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int) -> list[tuple[int, int]]:
    """Ranges of samples with about CHUNK_ROWS rows of loads each."""
    rows = cur.execute(
        "SELECT count(*) FROM raw.expert_loads WHERE run_key = ? AND ordinal = ?", [run_key, start]
    ).fetchone()
    most = max(1, CHUNK_ROWS // max(1, rows[0] if rows else 1))
    return [(first, min(stop, first + most)) for first in range(start, stop, most)]


def _biases(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int) -> tuple[bool, ...]:
    """Whether there are biases in the windows of these samples, whether their spread is wide, and whether any
    is not finite: a live run is examined twice a second, and impossible conditions can be skipped.
    """
    row = cur.execute(
        f"SELECT count(bias_spread), count(*) FILTER (bias_spread > {metrics.WIDE_SPREAD}), "
        "count(*) FILTER (NOT isfinite(bias_spread)) "
        "FROM raw.layer_metrics WHERE run_key = ? AND ordinal >= ? AND ordinal < ?",
        [run_key, start - metrics.OSCILLATION_STEPS, stop],
    ).fetchone()
    return tuple(map(bool, row)) if row else (False, False, False)


def _outranks(cur: duckdb.DuckDBPyConnection, run_key: int) -> str:
    """Condition on `step` that a wide spread is meaningful there, by the run's own configuration."""
    row = cur.execute("SELECT config FROM raw.runs WHERE run_key = ?", [run_key]).fetchone()
    spans = outranking_spans(json.loads(row[0])) if row and row[0] else ()
    parts = [f"step >= {first}" + ("" if stop is None else f" AND step < {stop}") for first, stop in spans]
    return f"({' OR '.join(parts)})" if parts else "false"


def _extend(cur: duckdb.DuckDBPyConnection, run_key: int, search: Search, start: int, stop: int) -> None:
    """Examine the samples from `start` to `stop`, which follow those examined before."""
    start, stop = start - start % search.width, stop - stop % search.width
    if start == stop:
        return
    if search is WINDOWS:
        collect_turning(cur, run_key, start, stop)
    params = {"run_key": run_key, "start": start, "stop": stop}
    kinds = ", ".join(f"'{kind}'" for kind in search.least)
    count = cur.execute(PIECES.format(flagged=search.flagged, kinds=kinds), params).fetchone()
    if count is not None and count[0] == 0:
        return
    cur.execute(
        f"DELETE FROM raw.episodes WHERE run_key = ? AND kind IN ({kinds}) AND last_ordinal = ?",
        [run_key, start - 1],
    )
    least = " ".join(f"WHEN '{kind}' THEN {samples}" for kind, samples in search.least.items())
    cur.execute(JOINED.format(numbered=search.numbered, least=least), params)
