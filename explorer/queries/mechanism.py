"""Mechanism of a rule: router gradients, router margin and routing churn."""

from collections.abc import Sequence
from itertools import groupby

import polars as pl

from explorer.queries._choices import Changes, sizes_of
from explorer.queries._choices import choices as probe_choices
from explorer.queries._frames import Cursor, frame

# Samples are the steps with a value of the metric; each bin gets the same number.
BINS = """
    sampled AS (
        SELECT *, dense_rank() OVER (ORDER BY step) - 1 AS ordinal FROM rows
    ), placed AS (
        SELECT *, ordinal // greatest(1, ceil((max(ordinal) OVER () + 1) / $max_bins))::BIGINT AS bin
        FROM sampled
    )
    SELECT $run_id AS run_id, bin, min(step) AS first_step, max(step) AS last_step,
           max(step)::DOUBLE AS x
"""


def _spread(name: str) -> str:
    """Mean, minimum and maximum over the finite values of a bin, and the count of non-finite ones."""
    finite = f"FILTER (isfinite({name}))"
    return (
        f", avg({name}) {finite} AS {name}, min({name}) {finite} AS {name}_min, "
        f"max({name}) {finite} AS {name}_max, count(*) FILTER (NOT isfinite({name})) AS {name}_not_finite"
    )


def router_gradients(
    cur: Cursor, run_ids: Sequence[str], layer: int | None = None, max_bins: int = 300
) -> pl.DataFrame:
    """Gradient norms at the routers by loss and the cosine between them, in at most `max_bins` bins.

    layer: one layer, or None for all. Columns: run_id, bin, first_step, last_step, x (the last step); for
    lm, aux and cosine the mean over samples and layers, `<name>_min` and `<name>_max`, of the finite values,
    and the count of others in `<name>_not_finite`; samples. aux and cosine are NULL where the run has no
    auxiliary loss; a run that was recorded without gradients has no rows. Sorted by run and bin.
    """
    sql = f"""
        WITH rows AS (
            SELECT step, layer, router_grad_norm_lm AS lm, router_grad_norm_aux AS aux,
                   -- NaN where one of the gradients is zero: no direction, and nothing wrong.
                   CASE WHEN isfinite(router_grad_cosine) THEN router_grad_cosine END AS cosine
            FROM layer_steps
            WHERE run_id = $run_id AND router_grad_norm_lm IS NOT NULL AND ($layer IS NULL OR layer = $layer)
        ), {BINS} {_spread("lm")} {_spread("aux")} {_spread("cosine")}, count(DISTINCT step) AS samples
        FROM placed GROUP BY bin ORDER BY bin
    """
    return pl.concat(
        frame(cur, sql, run_id=run_id, layer=layer, max_bins=max_bins) for run_id in run_ids or [""]
    )


def choices(
    cur: Cursor, run_ids: Sequence[str], layer: int | None = None, max_bins: int = 300
) -> pl.DataFrame:
    """Router margin and share of assignments changed by the bias, in at most `max_bins` bins.

    Columns: run_id, bin, first_step, last_step, x, and for margin (mean gap between the K-th and the
    (K+1)-th compared score) and switched (share of all assignments that are not among the K highest unbiased
    scores; NULL without a bias) the mean over samples and layers with `<name>_min`, `<name>_max` and
    `<name>_not_finite`; samples. Sorted by run and bin.
    """
    sql = f"""
        WITH rows AS (
            SELECT l.step, l.layer, l.score_margin AS margin,
                   l.switched_slots / nullif(m.tokens, 0) AS switched
            FROM layer_steps l LEFT JOIN layer_metrics m USING (run_id, step, layer)
            WHERE l.run_id = $run_id AND (l.score_margin IS NOT NULL OR l.switched_slots IS NOT NULL)
              AND ($layer IS NULL OR l.layer = $layer)
        ), {BINS} {_spread("margin")} {_spread("switched")}, count(DISTINCT step) AS samples
        FROM placed GROUP BY bin ORDER BY bin
    """
    return pl.concat(
        frame(cur, sql, run_id=run_id, layer=layer, max_bins=max_bins) for run_id in run_ids or [""]
    )


def choice_churn(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """Share of the probe batch's assignments that changed since the previous probe (`metrics.churn`).

    Columns: run_id, bin (number of the probe), first_step (of the probe before), last_step, x, churn (mean
    over layers) with churn_min and churn_max (over layers), chance (churn of two unrelated choices,
    1 - K/N, mean over layers). A run without two probes has no rows. Sorted by run and step.
    """
    return pl.concat(_choice_churn(cur, run_id) for run_id in run_ids or [""])


CHURN = {
    "run_id": pl.String,
    "bin": pl.Int64,
    "first_step": pl.Int64,
    "last_step": pl.Int64,
    "x": pl.Float64,
    **dict.fromkeys(("churn", "churn_min", "churn_max", "chance"), pl.Float64),
}


def _choice_churn(cur: Cursor, run_id: str) -> pl.DataFrame:
    sizes = sizes_of(cur, run_id)
    every = probe_choices(cur, run_id, sizes.num_experts) if sizes.num_experts else ()
    changes: dict[int, list[tuple[int, float | None, float | None]]] = {}
    for layer, probes in groupby(every, lambda one: one.layer):
        of_layer = list(probes)
        width = sizes.width(layer)
        chance = 1 - sizes.top_k / width if sizes.top_k is not None and width else None
        for one, change in zip(of_layer, Changes.between(of_layer), strict=True):
            if change.earlier is not None:
                changes.setdefault(one.step, []).append((change.earlier, change.churn, chance))
    rows = []
    for number, step in enumerate(sorted(changes), 1):
        earlier, churns, chances = zip(*changes[step], strict=True)
        values = [churn for churn in churns if churn is not None]
        spread = (sum(values) / len(values), min(values), max(values)) if values else (None, None, None)
        by_chance = [chance for chance in chances if chance is not None]
        mean = sum(by_chance) / len(by_chance) if by_chance else None
        rows.append((run_id, number, min(earlier), step, float(step), *spread, mean))
    return pl.DataFrame(rows, schema=CHURN, orient="row")
