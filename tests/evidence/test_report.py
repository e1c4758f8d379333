"""Verdicts from rows whose effects are known."""

import json

import pytest
from evidence_rows import row, rows_of

from explorer.evidence import plan, report
from explorer.evidence.pairs import steps_ahead
from explorer.evidence.registry import CLAIMS, EXPERIMENTS
from explorer.evidence.report import ClaimResult
from explorer.evidence.results import Row
from explorer.evidence.statistics import (
    CONTRADICTED,
    NOT_RESOLVED,
    NOT_RUN,
    NOT_TESTABLE,
    SUPPORTED,
    VERDICTS,
)

NOISE = (0.001, -0.002, 0.0015, -0.0005, 0.0, 0.0012, -0.0011, 0.0003)


def raw_scores(gap: float, *, pairs: int = 8, scale: str = "quick") -> dict[str, Row]:
    """Rows of `normalisation` (claim X5): raw scores are smaller by `gap` and less balanced by it."""

    def made(arm: str, seed: int) -> dict[str, float | None]:
        size = gap * (arm == "raw_1") + NOISE[seed % 8]
        return {"mean_score": 0.5 - size, "max_vio_global": 1.0 + size}

    return rows_of("normalisation", range(pairs), made, scale=scale)


def result_of(claim: str, rows: dict[str, Row]) -> ClaimResult:
    return {result.claim.id: result for result in report.evaluate(rows)}[claim]


def test_without_rows_nothing_is_judged() -> None:
    results = report.evaluate({})
    assert {result.verdict for result in results} == {NOT_RUN, NOT_TESTABLE}
    assert report.counts(results) == {**dict.fromkeys(VERDICTS, 0), NOT_RUN: len(CLAIMS) - 3, NOT_TESTABLE: 3}


@pytest.mark.parametrize(("gap", "verdict"), [(0.1, SUPPORTED), (-0.1, CONTRADICTED), (0.0, NOT_RESOLVED)])
def test_the_effect_decides(gap: float, verdict: str) -> None:
    rows = raw_scores(gap)
    if gap == 0.0:  # pairs whose noise is not shared
        rows |= {
            digest: row_with(kept, mean_score=0.5 + NOISE[(kept.seed + 3) % 8])
            for digest, kept in rows.items()
            if kept.arm == "raw_1"
        }
    assert result_of("X5", rows).verdict == verdict


def row_with(kept: Row, **metrics: float) -> Row:
    """The same run with other metrics."""
    from dataclasses import replace

    return replace(kept, metrics={**kept.metrics, **metrics})


def test_four_pairs_are_not_run() -> None:
    assert result_of("X5", raw_scores(0.1, pairs=4)).verdict == NOT_RUN


def test_a_claim_that_is_not_run_shows_no_effect() -> None:
    result = result_of("X5", raw_scores(0.2, pairs=4))
    assert result.main is not None
    assert result.main.effect is not None
    assert (result.effect, result.to_dict()["effect"], result.to_dict()["interval"]) == (None, None, None)
    result = result_of("X5", raw_scores(0.2, pairs=5))
    assert result.main is not None
    assert result.effect is result.main.effect


def test_fewer_pairs_than_planned_are_interim() -> None:
    assert result_of("X5", raw_scores(0.1, pairs=5)).is_interim
    assert not result_of("X5", raw_scores(0.1, pairs=8)).is_interim


def test_the_largest_scale_with_enough_pairs_counts() -> None:
    few = raw_scores(0.1) | raw_scores(-0.1, pairs=4, scale="standard")
    assert result_of("X5", few).scale == "quick"
    enough = raw_scores(0.1) | raw_scores(-0.1, pairs=5, scale="standard")
    assert (result_of("X5", enough).scale, result_of("X5", enough).verdict) == ("standard", CONTRADICTED)


def test_a_comparison_waits_for_its_tuning() -> None:
    rows = rows_of("loss-free", range(5), lambda arm, seed: {"lm_loss": 4.0, "max_vio_global": 0.1})
    experiment = EXPERIMENTS["loss-free"]
    arm = experiment.arm("loss_free")
    assert plan.tuned_text(experiment, arm, "quick", rows) == arm.candidates[1]
    assert len(result_of("A8", rows).results[0].values) == 5
    tuning = plan.tuning_runs(experiment, "quick")[0].digest
    without = {digest: kept for digest, kept in rows.items() if digest != tuning}
    assert result_of("A8", without).results[0].values == {}


def test_where_no_candidate_balances_the_most_balanced_one_wins() -> None:
    rows = rows_of("loss-free", range(0), lambda arm, seed: {})
    experiment = EXPERIMENTS["loss-free"]
    arm = experiment.arm("loss_free")
    third = arm.candidates[2]
    rows = {
        digest: row_with(kept, max_vio_global=0.9 if kept.text == third else 3.0)
        for digest, kept in rows.items()
    }
    assert plan.tuned_text(experiment, arm, "quick", rows) == third


def test_tuning_seeds_are_in_no_comparison() -> None:
    """`dilemma` has an arm that the tuning of `loss-free` tries as well."""
    rows = rows_of("loss-free", range(0), lambda arm, seed: {})
    dilemma = EXPERIMENTS["dilemma"]
    for arm in dilemma.arms:
        for seed in (0, *EXPERIMENTS["loss-free"].tuning_seeds):
            run = plan.run_of(dilemma, arm, "quick", seed)
            rows[run.digest] = row(run, {"max_vio_global": 1.0, "lm_loss": 1.0})
    assert set(result_of("A9", rows).results[0].values) == {0}


def test_a_missing_metric_is_no_value() -> None:
    rows = raw_scores(0.1)
    first = next(iter(rows))
    rows[first] = row_with(rows[first], mean_score=float("nan"))
    assert len(result_of("X5", rows).results[0].values) == 7


def test_the_json_form_has_what_scripts_need() -> None:
    entries = [result.to_dict() for result in report.evaluate(raw_scores(0.1))]
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    by_id = {entry["id"]: entry for entry in entries}
    known, unknown = by_id["X5"], by_id["A1"]
    assert known["verdict"] == SUPPORTED
    assert known["interval"][0] < known["effect"] < known["interval"][1] < 0
    assert (known["seeds"], known["scale"]) == (8, "quick")
    assert (unknown["effect"], unknown["interval"], unknown["seeds"]) == (None, None, 0)
    assert [entry["id"] for entry in entries] == [claim.id for claim in CLAIMS]


def test_steps_ahead_begin_after_the_warm_up() -> None:
    experiment = EXPERIMENTS["dilemma"]
    arm, base = (
        row(plan.run_of(experiment, experiment.arm(key), "quick", 0), {"bias_spread": spread}, series)
        for key, spread, series in (
            ("loss_free", 0.3, [9.0, 9.0, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1]),
            ("sequence", None, [0.5] * 8),
        )
    )
    # spread / (2u) = 50 of 200 steps: the first two of eight bins.
    assert steps_ahead(arm, base) == pytest.approx(5 / 6)
