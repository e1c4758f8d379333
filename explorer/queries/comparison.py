"""Compare runs: one row of final metrics per run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from explorer import metrics
from explorer.errors import one_of
from explorer.queries._frames import Cursor, frame, shared_frame

FIGURES = (
    "perplexity",
    "lm_loss",
    "bits_per_byte",
    "max_vio_batch",
    "max_vio_global",
    "worst_max_vio",
    "effective_experts",
    "tokens_per_second",
    "wall_time_s",
)
"""Columns of `summary` that `paired` can compare."""

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
               arg_min(layer, (-max_vio_global, layer)) FILTER (max_vio_global IS NOT NULL) AS worst_layer,
               max(max_vio_global) AS worst_max_vio,
               avg(effective_experts) AS effective_experts
        FROM layer_summary JOIN runs USING (run_id)
        WHERE unit IS DISTINCT FROM 'replicas'  -- a placement: no ratio of it is a load
        GROUP BY run_id
    )
    SELECT c.run_id, name, balancer, balancer_label, balancer_family, count_scope, seed,
           pair_key || coalesce('/' || corpus_digest, '')
           || CASE WHEN (unit, scope, phase) = ('assignments', 'global', 'training') THEN ''
              ELSE concat_ws('/', '', unit, scope, phase) END AS pair_key, preset,
           state, exp(lm_loss) AS perplexity, lm_loss, bits_per_byte, max_vio_batch, max_vio_global,
           worst_layer, worst_max_vio, effective_experts, tokens_per_second, wall_time_s, last_step, num_steps
    FROM chosen c LEFT JOIN held_out USING (run_id) LEFT JOIN layers USING (run_id)
    ORDER BY position, created_at DESC NULLS LAST, run_id
"""


def summary(cur: Cursor, run_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """One row per run, in the order of `run_ids`, or of all runs, newest first.

    Columns: run_id, name, balancer, balancer_label, balancer_family, count_scope, seed, pair_key (digest of
    the configuration, followed by that of the text where it is known, and by unit, scope and phase of loads
    that are not those of a training: runs with equal keys differ in arm and seed only), preset, state;
    perplexity, lm_loss, bits_per_byte (last held-out evaluation, domains weighted equally);
    max_vio_batch (end of training) and max_vio_global (last held-out counts), means over layers;
    worst_layer and worst_max_vio (highest max_vio_global); effective_experts (end of training, mean over
    layers); tokens_per_second, wall_time_s, last_step, num_steps. NULL where a metric is not available.
    Definitions: `explorer/metrics`.
    """
    if run_ids is None:
        return shared_frame(cur, SUMMARY, run_ids=None)
    return frame(cur, SUMMARY, run_ids=list(run_ids))


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Paired difference of one metric between two arms."""

    metric: str
    differences: dict[int, float]
    """Seed -> metric of arm a minus metric of arm b."""
    mean: float | None
    """Mean difference; None without a pair."""
    half_width: float | None
    """Half width of the 95 % t interval; None for fewer than two pairs."""
    resolved: bool
    """Whether the interval excludes zero."""
    p_value: float | None
    """Two-sided p value of the paired t test; None for fewer than two pairs."""
    unpaired_runs: tuple[str, ...]
    """Runs without a partner: seed, pair key or metric is missing on the other side, or not finite."""

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)


def paired(cur: Cursor, arm_a: Sequence[str], arm_b: Sequence[str], metric: str) -> PairedDifference:
    """`paired_metrics` of one metric. Raises ConfigError for one that is not among FIGURES."""
    one_of("metric", metric, FIGURES)
    return paired_metrics(cur, arm_a, arm_b)[metric]


def paired_metrics(cur: Cursor, arm_a: Sequence[str], arm_b: Sequence[str]) -> dict[str, PairedDifference]:
    """Compare two arms (run ids) in every metric of FIGURES, over their common seeds.

    Two runs are a pair when seed, configuration and text agree, so that they differ in the balancing rule
    only.
    When an arm has several runs of a seed, its newest one counts.
    """
    rows = summary(cur).filter(pl.col("run_id").is_in([*arm_a, *arm_b])).to_dicts()
    return {metric: _paired(rows, arm_a, arm_b, metric) for metric in FIGURES}


def _paired(
    rows: Sequence[Mapping[str, Any]], arm_a: Sequence[str], arm_b: Sequence[str], metric: str
) -> PairedDifference:
    a, b = _by_pair(rows, arm_a, metric), _by_pair(rows, arm_b, metric)
    differences = {pair[0]: a[pair][1] - b[pair][1] for pair in sorted(a.keys() & b.keys())}
    interval = metrics.t_interval(list(differences.values()))
    used = {run_id for pair in a.keys() & b.keys() for run_id in (a[pair][0], b[pair][0])}
    mean = sum(differences.values()) / len(differences) if differences else None
    return PairedDifference(
        metric=metric,
        differences=differences,
        mean=interval[0] if interval else mean,
        half_width=interval[1] if interval else None,
        resolved=metrics.is_resolved(interval),
        p_value=metrics.p_value(list(differences.values())),
        unpaired_runs=tuple(run_id for run_id in (*arm_a, *arm_b) if run_id not in used),
    )


def _by_pair(
    rows: Sequence[Mapping[str, Any]], arm: Sequence[str], metric: str
) -> dict[tuple[int, str], tuple[str, float]]:
    """(seed, pair key) -> (run id, metric), the newest run last so that it wins; rows: of `summary`."""
    return {
        (row["seed"], row["pair_key"]): (row["run_id"], float(row[metric]))
        for row in reversed(rows)
        if row["run_id"] in arm
        and None not in (row["seed"], row["pair_key"], row[metric])
        and math.isfinite(row[metric])
    }
