"""Specialisation: load by domain, co-activation of experts, router saturation.

Domains come from the held-out loads (`eval_loads`), choices from the probe batch (`probe_scores`: the same
tokens at a few checkpoints). Expert numbers belong to one layer of one run and are never pooled.
"""

import math

import polars as pl

from explorer import metrics
from explorer.queries._frames import FIRST_LAYER, WIDTH, Cursor, first_row, frame

MAX_EVALS = 60
"""Maximum number of evaluations in a series: evenly spaced, always including the last."""

SHARES = """
    counts AS (
        SELECT step, layer, domain, expert, sum(tokens)::BIGINT AS tokens FROM eval_loads
        WHERE run_id = $run_id AND split = 'held_out' AND list_contains($steps::BIGINT[], step)
          AND ($layer IS NULL OR layer = $layer)
        GROUP BY ALL
    ), shares AS (
        SELECT step, layer, domain, expert, tokens,
               tokens / nullif(sum(tokens) OVER (PARTITION BY step, layer, domain), 0) AS share
        FROM counts
    ), pairs AS (
        SELECT a.step, a.layer, a.domain, b.domain AS other, a.expert, a.share AS p, b.share AS q,
               (a.share + b.share) / 2 AS middle
        FROM shares a JOIN shares b USING (step, layer, expert)
    ), distances AS (
        SELECT step, layer, domain, other,
               CASE WHEN count(middle) = count(*) THEN sqrt(greatest(0, least(1, sum(
                   CASE WHEN p > 0 THEN p * log2(p / middle) ELSE 0 END
                   + CASE WHEN q > 0 THEN q * log2(q / middle) ELSE 0 END) / 2))) END AS distance
        FROM pairs GROUP BY step, layer, domain, other
    )
"""


def specialisation(cur: Cursor, run_id: str, layer: int | None = None) -> pl.DataFrame:
    """Dependence between domains and experts, per evaluation and layer.

    Columns: step, layer, mean_distance (`metrics.mean_domain_distance`), information (bits,
    `metrics.mutual_information`), chance (bits expected from counting noise alone if tokens were
    independent), most_information (bits, the smaller of log2 D and log2 N). Sorted by step and layer.
    """
    rows = frame(
        cur,
        f"""
        WITH {SHARES}, mixed AS (
            SELECT *, avg(share) OVER (PARTITION BY step, layer, expert) AS middle,
                   count(*) OVER (PARTITION BY step, layer, expert) AS domains
            FROM shares
        ), informed AS (
            SELECT step, layer, max(domains) AS domains, count(DISTINCT expert) AS experts,
                   sum(tokens)::BIGINT AS tokens,
                   CASE WHEN count(share) = count(*) THEN greatest(0, sum(
                       CASE WHEN share > 0 THEN share * log2(share / middle) ELSE 0 END / domains)) END
                   AS information
            FROM mixed GROUP BY step, layer
        ), apart AS (
            SELECT step, layer, CASE WHEN count(distance) = count(*) THEN avg(distance) END AS mean_distance
            FROM distances WHERE domain <> other GROUP BY step, layer
        )
        SELECT step, layer, mean_distance, information, domains, experts, tokens
        FROM informed LEFT JOIN apart USING (step, layer) ORDER BY step, layer
        """,
        run_id=run_id,
        layer=layer,
        steps=_eval_steps(cur, run_id),
    )
    sizes = rows.select("domains", "experts", "tokens").rows()
    return rows.select(
        "step",
        "layer",
        "mean_distance",
        "information",
        pl.Series("chance", [_chance(*row) for row in sizes], dtype=pl.Float64),
        pl.Series("most_information", [math.log2(min(row[:2])) for row in sizes], dtype=pl.Float64),
    )


def _chance(domains: int, experts: int, tokens: int) -> float | None:
    return metrics.mutual_information_chance(domains, experts, tokens) if tokens else None


def _eval_steps(cur: Cursor, run_id: str) -> list[int]:
    """Steps of at most MAX_EVALS held-out evaluations with loads, always including the last."""
    sql = f"""
        SELECT DISTINCT step FROM eval_loads
        WHERE run_id = $run_id AND split = 'held_out' AND layer = {FIRST_LAYER} AND expert = 0 ORDER BY step
    """
    steps = frame(cur, sql, run_id=run_id)["step"].to_list()
    number = min(len(steps), MAX_EVALS)
    if number < 2:
        return steps[-1:]
    return [steps[i * (len(steps) - 1) // (number - 1)] for i in range(number)]


CHOICES = """
    size AS (
        SELECT num_experts AS n, top_k AS k, num_experts, layers, experts_per_layer
        FROM runs WHERE run_id = $run_id
    ),
    choices AS (
        SELECT step, token, layer,
               list_distinct(list_filter(selected_experts, lambda e: e >= 0 AND e < n)) AS chosen
        FROM probe_scores, size WHERE run_id = $run_id
    )
"""
"""The probe's assignments without empty slots."""

TOGETHER = f"""
    WITH {CHOICES}, slots AS (
        SELECT layer, token, unnest(chosen) AS expert FROM choices WHERE step = $step AND layer IN ($a, $b)
    ), pairs AS (
        SELECT a.expert, b.expert AS other, count(*) AS tokens
        FROM slots a JOIN slots b ON b.token = a.token AND a.layer = $a AND b.layer = $b
        GROUP BY ALL
    ), loads AS (SELECT expert, count(*) AS tokens FROM slots WHERE layer = $a GROUP BY expert),
    grid AS (
        SELECT i.range::INTEGER AS expert, j.range::INTEGER AS other
        FROM range((SELECT coalesce(max({WIDTH.format(layer="$a")}), 0) FROM size)) i,
             range((SELECT coalesce(max({WIDTH.format(layer="$b")}), 0) FROM size)) j
        WHERE EXISTS (SELECT 1 FROM choices WHERE step = $step AND layer = $a)
    )
    SELECT expert, other, coalesce(p.tokens, 0) AS tokens,
           coalesce(p.tokens, 0) / nullif(l.tokens, 0) AS share
    FROM grid LEFT JOIN pairs p USING (expert, other) LEFT JOIN loads l USING (expert)
    ORDER BY expert, other
"""


def coactivation(cur: Cursor, run_id: str, layer: int, step: int | None = None) -> pl.DataFrame:
    """How often two experts of a layer are chosen for the same probe token (`metrics.coactivation`).

    step: a probe's step; None takes the last one. Columns: expert, other, tokens (both chosen; on the
    diagonal the expert's own tokens), share (of the tokens of `expert`; NULL if it has none). All pairs.
    """
    return cross_activation(cur, run_id, layer, layer, step)


def cross_activation(
    cur: Cursor, run_id: str, layer: int, other_layer: int, step: int | None = None
) -> pl.DataFrame:
    """How often an expert of `layer` and one of `other_layer` are chosen for the same probe token.

    All K x K pairs of a token count (`metrics.cross_activation`). Columns as for `coactivation`.
    """
    if step is None:
        row = first_row(cur, "SELECT max(step) FROM probe_scores WHERE run_id = $run_id", run_id=run_id)
        step = row[0] if row and row[0] is not None else -1
    return frame(cur, TOGETHER, run_id=run_id, a=layer, b=other_layer, step=step)


def saturation(cur: Cursor, run_id: str) -> pl.DataFrame:
    """Router saturation relative to the final probe, and churn since the previous probe.

    Columns: step, layer, saturation (`metrics.saturation`, 1 at the last probe), churn (`metrics.churn`
    since the previous probe; NULL at the first), chance (K/N, the saturation of independent choices; N of
    that layer).
    Sorted by step and layer.
    """
    return frame(
        cur,
        f"""
        WITH {CHOICES}, final AS (
            SELECT token, layer, chosen AS last FROM choices WHERE step = (SELECT max(step) FROM choices)
        ), known AS (
            SELECT step, layer, chosen, last,
                   lag(chosen) OVER (PARTITION BY layer, token ORDER BY step) AS before
            FROM choices JOIN final USING (token, layer)
        )
        SELECT step, layer,
               sum(len(list_intersect(chosen, last))) / nullif(sum(len(last)), 0) AS saturation,
               1 - sum(len(list_intersect(chosen, before)))
                   / nullif(sum(greatest(len(chosen), len(before))) FILTER (before IS NOT NULL), 0) AS churn,
               (SELECT k / nullif({WIDTH.format(layer="known.layer")}, 0) FROM size) AS chance
        FROM known GROUP BY step, layer ORDER BY step, layer
        """,
        run_id=run_id,
    )
