"""Figures of the Evidence page: they depend on the rows that runs left, and not on the index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from explorer.charts import evidence as charts
from explorer.charts import evidence_runs as run_charts
from explorer.charts import spec as specs
from explorer.config.run import RunConfig
from explorer.evidence import plan, report, results
from explorer.evidence.experiment import SCALES, Experiment
from explorer.evidence.registry import CLAIMS, EXPERIMENTS
from explorer.evidence.report import ClaimResult, Result
from explorer.evidence.results import Row
from explorer.evidence.statistics import (
    CONTRADICTED,
    NOT_RESOLVED,
    NOT_RUN,
    NOT_TESTABLE,
    SUPPORTED,
    Effect,
)
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store
from explorer.queries.statements import Statement
from explorer.wording import and_list, counted

MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", NOT_RESOLVED: "○", NOT_RUN: "·", NOT_TESTABLE: "–"}
"""A verdict without its colour; in the order in which claims are listed."""
ANSWERED = (SUPPORTED, CONTRADICTED, NOT_RESOLVED)
"""Verdicts that runs gave."""
Version = tuple[tuple[str, int, int], ...]
SQL = (
    "SELECT experiment, arm, scale, seed, digest, text, seconds, metrics\n"
    "FROM read_parquet('data/evidence/*.parquet')\n"
    "WHERE list_contains($digests, digest)\nORDER BY seed, arm"
)


@dataclass(frozen=True, kw_only=True)
class EvidenceSettings:
    """What a panel depends on: one claim, and the state of the files of rows."""

    claim: str = "A9"
    version: Version = ()


@lru_cache(maxsize=4)
def evaluated(version: Version) -> tuple[ClaimResult, ...]:
    """Every claim with its verdict, for this state of the files."""
    return tuple(report.evaluate(rows_of(version)))


@lru_cache(maxsize=4)
def rows_of(version: Version) -> Mapping[str, Row]:
    """Digest -> row."""
    return results.read_rows()


def result_of(settings: EvidenceSettings) -> ClaimResult:
    """The claim of these settings with its verdict."""
    return {result.claim.id: result for result in evaluated(settings.version)}[settings.claim]


def in_order(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """Supported claims first, then contradicted ones, those that are not resolved, and those without runs."""
    return sorted(results, key=lambda result: list(MARKS).index(result.verdict))


def effect_text(result: ClaimResult) -> str:
    """`−0.0071 ± 0.0040`, or a dash."""
    effect = result.effect
    if effect is None:
        return "–"
    return f"{charts.signed(short(effect.mean))} ± {short(effect.half_width):g}"


def interval_text(effect: Effect) -> str:
    """`−0.33 to −0.229`."""
    return f"{charts.signed(short(effect.low))} to {charts.signed(short(effect.high))}"


def short(value: float) -> float:
    """A value with three significant digits."""
    return float(f"{value:.3g}")


def verdicts(store: Store, arms: ArmSet, settings: EvidenceSettings) -> Panel:
    """One tile per claim that runs have answered; the finding counts the others."""
    results = evaluated(settings.version)
    rows = [
        (result.claim.id, result.claim.name, result.verdict, result.claim.text, effect_text(result))
        for result in in_order(results)
        if result.verdict in ANSWERED
    ]
    frame = pl.DataFrame(
        rows, schema=dict.fromkeys(("id", "name", "verdict", "claim", "effect"), pl.String), orient="row"
    )
    parts = [f"{number} {verdict}" for verdict, number in report.counts(results).items() if number]
    interim = sum(result.is_interim for result in results)
    more = ""
    if interim:
        verb = "lacks" if interim == 1 else "lack"
        more = f" {counted(interim, 'claim')} still {verb} seeds that were fixed in advance."
    return Panel(
        subject="Verdicts",
        finding=f"Of {counted(len(results), 'claim')}: {and_list(parts)}.{more}",
        how="One tile per claim with a verdict; the table below has its effect, interval, seeds and cost.",
        spec=specs.make(charts.verdict_tiles(frame)),
        table=frame,
    )


def comparisons(store: Store, arms: ArmSet, settings: EvidenceSettings) -> Panel | Missing:
    """The comparisons of one claim: every seed a point."""
    result = result_of(settings)
    subject = f"“{result.claim.name}”: paired differences"
    estimates = [one for one in result.results if one.effect is not None]
    if not estimates:
        return Missing(subject=subject, reason=_why_nothing(result))
    rows = [row for one in estimates if (row := _row(one)) is not None]
    return Panel(
        subject=subject,
        finding=" ".join(finding_of(one) for one in estimates),
        how="A point per seed, the mean with its 95 % t interval, and a green band where the claim would "
        "hold. "
        "Diamonds are the paper's effect, at its own scale.",
        spec=specs.make(charts.comparisons(rows)),
        table=_table(estimates),
        statements=_statements(estimates),
    )


def _why_nothing(result: ClaimResult) -> str:
    claim = result.claim
    if claim.not_testable:
        return claim.not_testable
    names = and_list(list(dict.fromkeys(one.comparison.experiment for one in result.results)))
    return f"Not run: no rows of {names}; make them with “python -m explorer experiment run {names}”."


def _row(one: Result) -> dict[str, object] | None:
    effect, region = one.effect, one.comparison.region
    if effect is None:
        return None
    return {
        "words": one.comparison.words,
        "mean": effect.mean,
        "low": effect.low,
        "high": effect.high,
        "values": one.values,
        "published": one.comparison.published,
        "region_low": region.low,
        "region_high": region.high,
        "never": region.never,
        "verdict": one.verdict,
        "reading": one.verdict,
    }


def finding_of(one: Result) -> str:
    """One comparison in a sentence: effect, interval, pairs, scale and verdict."""
    effect = one.effect
    assert effect is not None
    words = one.comparison.words[0].upper() + one.comparison.words[1:]
    mean, half = charts.signed(short(effect.mean)), short(effect.half_width)
    count = f"{counted(effect.pairs, 'pair')} at {one.scale}"
    if one.comparison.region.never:
        total = sum(value > 0 for value in one.values.values())
        return f"{words}: {total} of {counted(len(one.values), 'run')} at {one.scale}; {one.verdict}."
    text = f"{words}: {mean}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{half:g} ({count}"
    if effect.bootstrap is not None:
        low, high = (charts.signed(short(edge)) for edge in effect.bootstrap)
        text += f"; bootstrap {low} to {high}"
    if one.comparison.published is not None:
        text += f"; the paper reports {charts.signed(short(one.comparison.published))}"
    note = ", significant on its own but not among all comparisons of this page" if is_lost(one) else ""
    return f"{text}); {one.verdict}{note}."


def is_lost(one: Result) -> bool:
    """Whether a comparison is significant on its own but not after Holm's correction over the page."""
    if one.effect is None or one.verdict != NOT_RESOLVED:
        return False
    return (one.effect.p or 1) < 0.05 and not one.survives


def _table(estimates: Sequence[Result]) -> pl.DataFrame:
    """One row per comparison and seed."""
    rows = [
        (one.comparison.words, one.comparison.experiment, one.scale, seed, value)
        for one in estimates
        for seed, value in one.values.items()
    ]
    schema = {
        "quantity": pl.String,
        "experiment": pl.String,
        "scale": pl.String,
        "seed": pl.Int64,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _statements(estimates: Sequence[Result]) -> tuple[Statement, ...]:
    digests = sorted({row.digest for one in estimates for row in one.rows})
    return (Statement(sql=SQL, params={"digests": digests}),)


def _trained(settings: EvidenceSettings) -> tuple[Experiment, str, list[tuple[str, Row]]]:
    """The first training experiment of a claim, its scale, and label and row of every run."""
    for one in result_of(settings).results:
        experiment = EXPERIMENTS[one.comparison.experiment]
        if experiment.trial is None and one.scale:
            rows = rows_of(settings.version)
            return experiment, one.scale, arm_rows(experiment, one.scale, rows)
    return EXPERIMENTS["dilemma"], "", []


def arm_rows(experiment: Experiment, scale: str, rows: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """Label and row of every run of an experiment's comparison."""
    seeds = sorted({row.seed for row in rows.values() if row.scale == scale} - report.TUNING_SEEDS)
    labels = {arm.key: arm.label for arm in experiment.arms}
    runs = plan.comparison_runs(experiment, scale, rows, seeds)
    return [(labels[run.arm], rows[run.digest]) for run in runs if run.digest in rows]


NOT_TRAINED = "No training with MoE layers is behind this claim yet."
ARM = {"arm": pl.String, "family": pl.String, "scope": pl.String}


def _colour(row: Row) -> tuple[str, str]:
    """Method and count scope of a run, which decide its colour."""
    config = RunConfig.from_dict(row.config)
    return config.family, config.count_scope


def _comparable(frame: pl.DataFrame) -> pl.DataFrame:
    """Runs whose means compare, since they are over the same seeds: those of the arms with the most seeds,
    or, where that is one arm alone, those of the seeds that most arms have."""
    seeds = pl.col("seed").n_unique().over("arm")
    longest = frame.filter(seeds == seeds.max())
    if longest["arm"].n_unique() > 1:
        return longest
    arms = pl.col("arm").n_unique().over("seed")
    shared = frame.filter(arms == arms.max())
    return shared.filter(seeds == seeds.max())


def _named(settings: EvidenceSettings, *of_finding: str) -> set[str]:
    """Labels of the arms that the claim compares, and of those that a finding names."""
    arms = [
        EXPERIMENTS[one.experiment].arm(key).label
        for one in result_of(settings).claim.comparisons
        for key in one.arms
    ]
    return {*arms, *of_finding}


def _grey(frame: pl.DataFrame) -> str:
    """What grey marks are, where there are any."""
    return " Grey: arms that the claim does not compare." if run_charts.is_folded(frame) else ""


def every_run(store: Store, arms: ArmSet, settings: EvidenceSettings) -> Panel | Missing:
    """Held-out loss against imbalance of every run of a claim's experiment."""
    experiment, scale, labelled_rows = _trained(settings)
    subject = f"Every run of “{experiment.title}”"
    rows = [
        (label, *_colour(row), row.seed, row.metrics["max_vio_global"], row.metrics["lm_loss"])
        for label, row in labelled_rows
        if row.metrics.get("max_vio_global") is not None and row.metrics.get("lm_loss") is not None
    ]
    if not rows:
        return Missing(subject=subject, reason=NOT_TRAINED)
    schema = {**ARM, "seed": pl.Int64, "max_vio": pl.Float64, "lm_loss": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    compared = _comparable(frame)
    means = compared.group_by("arm", maintain_order=True).agg(pl.col("lm_loss", "max_vio").mean())
    best = means.sort("lm_loss").row(0, named=True)
    even = means.sort("max_vio").row(0, named=True)
    return Panel(
        subject=subject,
        finding=(
            f"Lowest mean loss: {best['arm']} ({best['lm_loss']:.4f} nats). Most even: {even['arm']} "
            f"(MaxVio {even['max_vio']:.3f}). Means at {scale} over "
            f"{counted(compared['seed'].n_unique(), 'seed')}; the verdict comes from pairs."
        ),
        how=f"One point per run. Down is better, left is more even.{_grey(frame)}",
        spec=specs.make(run_charts.plane(frame, _named(settings, best["arm"], even["arm"]))),
        table=frame,
        statements=_row_statements(labelled_rows),
    )


def course(store: Store, arms: ArmSet, settings: EvidenceSettings) -> Panel | Missing:
    """MaxVio of the batches over training, of every run of a claim's experiment."""
    experiment, scale, labelled_rows = _trained(settings)
    subject = f"MaxVio over training, “{experiment.title}”"
    rows = [
        (label, *_colour(row), row.seed, row.digest, 100 * (index + 1) / len(row.series), value)
        for label, row in labelled_rows
        for index, value in enumerate(row.series)
    ]
    if not rows:
        return Missing(subject=subject, reason=NOT_TRAINED)
    schema = {**ARM, "seed": pl.Int64, "run": pl.String, "share": pl.Float64, "max_vio": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    longest = max(len(row.series) for _, row in labelled_rows)
    late = _comparable(frame).filter(pl.col("share") > 75)
    last = late.group_by("arm", maintain_order=True).agg(pl.col("max_vio").mean())
    low, high = last.sort("max_vio").row(0, named=True), last.sort("max_vio").row(-1, named=True)
    most = ""
    if len(last) > 1:
        most = f" (the lowest) and {high['max_vio']:.2f} with {high['arm']} (the highest)"
    return Panel(
        subject=subject,
        finding=f"In the last quarter, MaxVio averages {low['max_vio']:.2f} with {low['arm']}{most}.",
        how=f"Thin: every run at {scale}, averaged over {counted(longest, 'bin')} of steps. "
        f"Thick: the mean of an arm.{_grey(frame)}",
        spec=specs.make(run_charts.course(frame, _named(settings, low["arm"], high["arm"]))),
        table=frame,
        statements=_row_statements(labelled_rows),
    )


def _row_statements(rows: Sequence[tuple[str, Row]]) -> tuple[Statement, ...]:
    return (Statement(sql=SQL, params={"digests": sorted({row.digest for _, row in rows})}),)


def claim_ids() -> list[str]:
    """Ids of all claims, in the order of the page."""
    return [claim.id for claim in CLAIMS]


def largest_scale(experiment: Experiment, rows: Mapping[str, Row]) -> str:
    """The largest scale at which an experiment has rows; empty without."""
    scales = {row.scale for row in rows.values() if row.experiment == experiment.id}
    return next((scale for scale in reversed(SCALES) if scale in scales), "")
