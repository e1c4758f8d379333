"""Answers to generated two-hop questions under other selections, from the rows of the evidence."""

import polars as pl

from explorer.charts import evidence_runs as charts
from explorer.charts import spec as specs
from explorer.evidence.registry import EXPERIMENTS
from explorer.evidence.results import Row
from explorer.evidence.task_measures import BATCH, DECODE
from explorer.figures import evidence
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store
from explorer.queries.statements import Statement

EXPERIMENT = "answers"
CHANCE = "two_hop_chance_exact_match"
"""Metric of a row: the exact match of naming any country of the text."""
RULES = {
    "top_1": "static top-1",
    "top_2": "static top-2 (full)",
    "top_3": "static top-3",
    "top_4": "static top-4",
    "oea_k0_1": "OEA, k0 = 1",
    "lynx_keep_0.5": "Lynx, keeps 50 %",
    "lynx_keep_0.75": "Lynx, keeps 75 %",
}
"""Rule as the metrics name it, and as the chart does."""


def by_rule(store: Store, arms: ArmSet, settings: evidence.EvidenceSettings) -> Panel | Missing:
    """Exact match of every rule and model beside chance; neither store nor arms are asked."""
    subject = "Exact match of answers, by selection"
    rows = evidence.rows_of(settings.version)
    experiment = EXPERIMENTS[EXPERIMENT]
    scale = evidence.largest_scale(experiment, rows)
    models = [row for _, row in evidence.arm_rows(experiment, scale, rows)] if scale else []
    frame = _frame(models)
    if frame.is_empty():
        return Missing(subject=subject, reason="No model has been trained on two-hop questions yet.")
    means = frame.group_by("rule", maintain_order=True).agg(pl.col("exact_match", "f1").mean())
    chance = float(models[0].metrics[CHANCE] or 0)
    low, high = float(means["exact_match"].min()), float(means["exact_match"].max())  # type: ignore[arg-type]
    digests = sorted(row.digest for row in models)
    return Panel(
        subject=subject,
        finding=f"Mean exact match {_range(low, high)}; naming any country of the text gives {chance:.3f}.",
        how=f"Decoding at batch {BATCH}, two-hop questions, {scale}. A point per model; the bar is their "
        "mean, the dashed line chance.",
        spec=specs.make(charts.answers(frame, chance)),
        table=frame,
        statements=(Statement(sql=evidence.SQL, params={"digests": digests}),),
    )


def _range(low: float, high: float) -> str:
    if low == high:
        return f"is {low:.3f} under every rule"
    return f"lies between {low:.3f} and {high:.3f} over all rules"


def _frame(models: list[Row]) -> pl.DataFrame:
    """One row per rule and model: rule, seed, exact_match, f1."""
    prefix = f"{DECODE}_{BATCH}"
    rows = [
        (label, row.seed, *(row.metrics.get(f"{slug}_{prefix}_{name}") for name in ("exact_match", "f1")))
        for slug, label in RULES.items()
        for row in models
    ]
    schema = {"rule": pl.String, "seed": pl.Int64, "exact_match": pl.Float64, "f1": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls()
