"""Imbalance beyond the training length, from the rows of the evidence."""

import polars as pl

from explorer.charts import evidence as charts
from explorer.charts import evidence_runs as run_charts
from explorer.charts import spec as specs
from explorer.config.presets import arm_config, get_preset
from explorer.evidence.experiment import LEAST_PAIRS
from explorer.evidence.registry import EXPERIMENTS
from explorer.evidence.results import Row
from explorer.figures import evidence
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store
from explorer.queries.statements import Statement

EXPERIMENT = "long-context"
FACTORS = (1, 2, 4, 8)
SUBJECT = "Excess imbalance by length of the context"
HOW = (
    "The same held-out tokens, cut into sequences of 1 to 8 times the training length. Excess: MaxVio beyond "
    "what tokens in so few sequences show by chance. It can be below 0: chance draws sequences at random, "
    "while a batch of short ones takes the domains in turn. Thin: one model per seed. Thick: the "
    "mean of an arm."
)


def by_length(store: Store, arms: ArmSet, settings: evidence.EvidenceSettings) -> Panel | Missing:
    """Excess MaxVio of every arm's models at growing lengths; neither store nor arms are asked."""
    rows = evidence.rows_of(settings.version)
    experiment = EXPERIMENTS[EXPERIMENT]
    scale = evidence.largest_scale(experiment, rows)
    models = evidence.arm_rows(experiment, scale, rows) if scale else []
    if len({row.seed for _, row in models}) < LEAST_PAIRS:
        reason = f"Fewer than {LEAST_PAIRS} pairs of {EXPERIMENT} have been run."
        return Missing(subject=SUBJECT, reason=reason)
    frame = _frame(models)
    means = frame.group_by("arm", "factor", maintain_order=True).agg(pl.col("excess", "max_vio").mean())
    digests = sorted(row.digest for _, row in models)
    parts = [_change(means, arm) for arm in means["arm"].unique(maintain_order=True)]
    return Panel(
        subject=SUBJECT,
        finding=f"From 1× to {FACTORS[-1]}× the training length. {' '.join(parts)}",
        how=HOW,
        spec=specs.make(run_charts.by_length(frame)),
        table=frame.drop("family", "scope"),
        statements=(Statement(sql=evidence.SQL, params={"digests": digests}),),
    )


def _frame(models: list[tuple[str, Row]]) -> pl.DataFrame:
    """One row per model and length."""
    rows = [
        (label, *_colour(row), row.digest, row.seed, factor, *_values(row, factor))
        for label, row in models
        for factor in FACTORS
    ]
    schema = {
        **evidence.ARM,
        "run": pl.String,
        "seed": pl.Int64,
        "factor": pl.Int64,
        "max_vio": pl.Float64,
        "excess": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls("excess")


def _values(row: Row, factor: int) -> tuple[float | None, float | None]:
    return row.metrics.get(f"max_vio_{factor}x"), row.metrics.get(f"excess_{factor}x")


def _colour(row: Row) -> tuple[str, str]:
    """Method and count scope of a row whose configuration names its rule alone."""
    config = arm_config(get_preset(row.scale), str(row.config["text"]))
    return config.family, config.count_scope


def _change(means: pl.DataFrame, arm: str) -> str:
    """`With loss-free, MaxVio goes from 0.60 to 3.61, its excess over chance from −0.28 to +0.19.`"""
    rows = means.filter(pl.col("arm") == arm)
    first, last = (
        rows.row(by_predicate=pl.col("factor") == f, named=True) for f in (FACTORS[0], FACTORS[-1])
    )
    start, end = (charts.signed(round(row["excess"], 2)) for row in (first, last))
    return (
        f"With {arm}, MaxVio goes from {first['max_vio']:.2f} to {last['max_vio']:.2f}, its excess over "
        f"chance from {start} to {end}."
    )
