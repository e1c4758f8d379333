"""Mechanism of a rule: router gradients, router margin and routing churn."""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import polars as pl

from explorer.queries._choices import Changes, sizes_of
from explorer.queries._choices import choices as probe_choices
from explorer.queries._frames import Cursor, frame


def router_gradients(
    cur: Cursor, run_ids: Sequence[str], layer: int | None = None, max_bins: int = 300
) -> pl.DataFrame:
    """Gradient norms at the routers by loss and the cosine between them, in at most `max_bins` bins.

    layer: one layer, or None for all. Columns: run_id, bin, first_step, last_step, x (the last step); for
    lm, aux and cosine the mean over samples and layers, `<name>_min` and `<name>_max`, of the finite values,
    and the count of others in `<name>_not_finite`; samples. aux and cosine are NULL where the run has no
    auxiliary loss; a run that was recorded without gradients has no rows. Sorted by run and bin.
    """
    sql = """
        SELECT step, layer, router_grad_norm_lm AS lm, router_grad_norm_aux AS aux,
               -- NaN where one of the gradients is zero: no direction, and nothing wrong.
               CASE WHEN isfinite(router_grad_cosine) THEN router_grad_cosine END AS cosine
        FROM layer_steps
        WHERE run_id = $run_id AND router_grad_norm_lm IS NOT NULL AND ($layer IS NULL OR layer = $layer)
    """
    return pl.concat(
        _binned(frame(cur, sql, run_id=run_id, layer=layer), run_id, ("lm", "aux", "cosine"), max_bins)
        for run_id in run_ids or [""]
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
    sql = """
        SELECT l.step, l.layer, l.score_margin AS margin,
               l.switched_slots / nullif(m.tokens, 0) AS switched
        FROM layer_steps l LEFT JOIN layer_metrics m USING (run_id, step, layer)
        WHERE l.run_id = $run_id AND (l.score_margin IS NOT NULL OR l.switched_slots IS NOT NULL)
          AND ($layer IS NULL OR l.layer = $layer)
    """
    return pl.concat(
        _binned(frame(cur, sql, run_id=run_id, layer=layer), run_id, ("margin", "switched"), max_bins)
        for run_id in run_ids or [""]
    )


def _binned(rows: pl.DataFrame, run_id: str, names: Sequence[str], max_bins: int) -> pl.DataFrame:
    """Bins of equally many sampled steps: mean, minimum and maximum over the finite values, and the count of
    the others. Polars takes a third of the time of the same in SQL.
    """
    steps, ordinal = np.unique(rows["step"].to_numpy(), return_inverse=True)
    width = max(1, math.ceil(len(steps) / max_bins))
    parts: list[pl.Expr] = []
    for name in names:
        finite = pl.col(name).filter(pl.col(name).is_finite())
        parts += [
            finite.mean().alias(name),
            finite.min().alias(f"{name}_min"),
            finite.max().alias(f"{name}_max"),
            (~pl.col(name).is_finite()).sum().cast(pl.Int64).alias(f"{name}_not_finite"),
        ]
    last = pl.col("step").max()
    span = (
        pl.col("step").min().alias("first_step"),
        last.alias("last_step"),
        last.cast(pl.Float64).alias("x"),
    )
    bins = rows.with_columns(bin=pl.Series(ordinal // width, dtype=pl.Int64)).group_by("bin")
    samples = pl.col("step").n_unique().cast(pl.Int64).alias("samples")
    return (
        bins.agg(pl.lit(run_id).alias("run_id").first(), *span, *parts, samples)
        .sort("bin")
        .select("run_id", "bin", pl.exclude("run_id", "bin"))
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
