"""The verdict on every claim, computed from the rows that are there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.evidence import plan
from explorer.evidence.claim import Claim, Comparison
from explorer.evidence.experiment import LEAST_PAIRS, SCALES, Run
from explorer.evidence.pairs import PAIR_MEASURES, metric_of
from explorer.evidence.registry import CLAIMS, EXPERIMENTS
from explorer.evidence.results import Row
from explorer.evidence.statistics import (
    NOT_RUN,
    NOT_TESTABLE,
    SUPPORTED,
    VERDICTS,
    Effect,
    combined,
    effect_of,
    family_of,
    verdict_of,
)

Rows = Mapping[str, Row]
TUNING_SEEDS = frozenset(seed for experiment in EXPERIMENTS.values() for seed in experiment.tuning_seeds)
"""No comparison uses them, also not one of another experiment that has the same arms."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One comparison with what its runs say."""

    comparison: Comparison
    scale: str
    """Empty where no run was made."""
    planned: int
    """Pairs fixed in advance at this scale."""
    values: Mapping[int, float]
    """Seed -> contrast."""
    effect: Effect | None
    verdict: str
    survives: bool
    """Significant after Holm's correction over the page."""
    rows: tuple[Row, ...]
    """The rows behind it, each once."""

    @property
    def is_interim(self) -> bool:
        """Whether seeds that were fixed in advance are still missing."""
        return 0 < len(self.values) < self.planned


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """A claim with its verdict."""

    claim: Claim
    verdict: str
    results: tuple[Result, ...]

    @property
    def main(self) -> Result | None:
        """The comparison whose effect tables show: the first one that has runs."""
        estimates = [result for result in self.results if result.effect is not None]
        return estimates[0] if estimates else self.results[0] if self.results else None

    @property
    def pairs(self) -> int:
        """Pairs of the comparison with the fewest."""
        return min((len(result.values) for result in self.results), default=0)

    @property
    def effect(self) -> Effect | None:
        """That of the main comparison, for tables; None while the claim counts as not run."""
        return None if self.main is None or self.verdict == NOT_RUN else self.main.effect

    @property
    def num_run(self) -> int:
        """Comparisons with enough pairs for a verdict."""
        return sum(result.verdict != NOT_RUN for result in self.results)

    @property
    def num_supported(self) -> int:
        """Comparisons that hold."""
        return sum(result.verdict == SUPPORTED for result in self.results)

    @property
    def scale(self) -> str:
        """Scale of the main comparison, empty without runs."""
        return self.main.scale if self.main is not None else ""

    @property
    def is_interim(self) -> bool:
        """Whether there is a verdict although a comparison lacks seeds that were fixed in advance."""
        return self.verdict != NOT_RUN and any(result.is_interim for result in self.results)

    @property
    def seconds(self) -> float:
        """Training time of all runs behind it; runs shared with other claims count in full."""
        return sum({row.digest: row.seconds for result in self.results for row in result.rows}.values())

    def to_dict(self) -> dict[str, Any]:
        """The `--json` form."""
        main = self.main
        effect = self.effect
        return {
            "id": self.claim.id,
            "claim": self.claim.text,
            "source": self.claim.source.title,
            "verdict": self.verdict,
            "effect": None if effect is None else effect.mean,
            "interval": None if effect is None else [effect.low, effect.high],
            "quantity": "" if main is None else main.comparison.words,
            "published": None if main is None else main.comparison.published,
            "seeds": self.pairs,
            "scale": self.scale,
            "interim": self.is_interim,
            "seconds": round(self.seconds, 1),
            "reason": self.claim.not_testable,
            "comparisons": [_plain(result) for result in self.results],
        }


def _plain(result: Result) -> dict[str, Any]:
    effect = result.effect
    return {
        "experiment": result.comparison.experiment,
        "metric": result.comparison.metric,
        "quantity": result.comparison.words,
        "holds_if": str(result.comparison.region),
        "effect": None if effect is None else effect.mean,
        "interval": None if effect is None else [effect.low, effect.high],
        "bootstrap": None if effect is None or effect.bootstrap is None else list(effect.bootstrap),
        "p": None if effect is None else effect.p,
        "holm": result.survives,
        "seeds": len(result.values),
        "planned": result.planned,
        "scale": result.scale,
        "verdict": result.verdict,
    }


def evaluate(rows: Rows, claims: Sequence[Claim] = CLAIMS) -> list[ClaimResult]:
    """Every claim with its verdict; Holm's family is all comparisons of these claims with enough pairs."""
    pairs = [(claim, comparison) for claim in claims for comparison in claim.comparisons]
    values_of_pairs = [_values(comparison, rows) for _, comparison in pairs]
    effects = [
        effect_of(list(values.values()), comparison.region)
        for (_, comparison), (_, values, _) in zip(pairs, values_of_pairs, strict=True)
    ]
    results: dict[str, list[Result]] = {claim.id: [] for claim in claims}
    parts = zip(pairs, values_of_pairs, effects, family_of(effects), strict=True)
    for (claim, comparison), (scale, values, used), effect, survives in parts:
        results[claim.id].append(
            Result(
                comparison=comparison,
                scale=scale,
                planned=_planned(comparison, scale),
                values=values,
                effect=effect,
                verdict=verdict_of(list(values.values()), effect, comparison.region, survives),
                survives=survives,
                rows=used,
            )
        )
    return [_judged(claim, results[claim.id]) for claim in claims]


def _judged(claim: Claim, results: Sequence[Result]) -> ClaimResult:
    verdict = NOT_TESTABLE if claim.not_testable else combined([result.verdict for result in results])
    return ClaimResult(claim=claim, verdict=verdict, results=tuple(results))


def _planned(comparison: Comparison, scale: str) -> int:
    experiment = EXPERIMENTS[comparison.experiment]
    return experiment.pairs.get(scale or "quick", 0)


def _values(comparison: Comparison, rows: Rows) -> tuple[str, dict[int, float], tuple[Row, ...]]:
    """Scale, contrast by seed, and the rows behind it: the largest scale with enough pairs, else the one with
    the most."""
    best: tuple[str, dict[int, float], tuple[Row, ...]] = ("", {}, ())
    for scale in reversed(SCALES):
        seeds = sorted({row.seed for row in rows.values() if row.scale == scale} - TUNING_SEEDS)
        values, used = _at_scale(comparison, rows, scale, seeds)
        if len(values) >= LEAST_PAIRS:
            return scale, values, used
        if len(values) > len(best[1]):
            best = (scale, values, used)
    return best


def _at_scale(
    comparison: Comparison, rows: Rows, scale: str, seeds: Sequence[int]
) -> tuple[dict[int, float], tuple[Row, ...]]:
    experiment = EXPERIMENTS[comparison.experiment]
    texts = {key: plan.tuned_text(experiment, experiment.arm(key), scale, rows) for key in comparison.arms}
    values: dict[int, float] = {}
    used: dict[str, Row] = {}
    for seed in [] if None in texts.values() else seeds:
        runs = [
            plan.run_of(experiment, experiment.arm(key), scale, seed, texts[key]) for key in comparison.arms
        ]
        value = _contrast(comparison, runs, rows)
        if value is not None:
            values[seed] = value
            used |= {run.digest: rows[run.digest] for run in runs}
    return values, tuple(used.values())


def _contrast(comparison: Comparison, runs: Sequence[Run], rows: Rows) -> float | None:
    """The contrast of one seed; None where a run is missing or has no such metric."""
    if any(run.digest not in rows for run in runs):
        return None
    results = [rows[run.digest] for run in runs]
    measure = PAIR_MEASURES.get(comparison.metric)
    if measure is not None:
        return measure(results[0], results[1])
    values = [metric_of(row, comparison.metric) for row in results]
    total = 0.0
    for (_, weight), value in zip(comparison.contrast, values, strict=True):
        if value is None or not math.isfinite(value):
            return None
        total += weight * value
    return total


def counts(results: Sequence[ClaimResult]) -> dict[str, int]:
    """Verdict -> number of claims, in the order of `statistics.VERDICTS`."""
    return {verdict: sum(result.verdict == verdict for result in results) for verdict in VERDICTS}
