"""No claim is missing, and every one can be judged by an experiment that exists."""

import re
from pathlib import Path

import pytest

from explorer.config.run import RunConfig
from explorer.errors import ConfigError
from explorer.evidence import plan
from explorer.evidence.claim import Claim
from explorer.evidence.experiment import SCALES, Experiment
from explorer.evidence.pairs import PAIR_MEASURES
from explorer.evidence.published import CARDS
from explorer.evidence.registry import CLAIMS, EXPERIMENTS, experiments

IDS = [
    *(f"A{n}" for n in range(1, 14)),
    *(f"B{n}" for n in range(1, 13)),
    *(f"C{n}" for n in range(1, 11)),
    *(f"X{n}" for n in range(1, 8)),
    *(f"{n:03}" for n in range(7)),
]
TRAINING_EXPERIMENTS = [experiment for experiment in EXPERIMENTS.values() if experiment.trial is None]


def test_every_claim_from_the_literature_is_here() -> None:
    assert [claim.id for claim in CLAIMS] == IDS


def test_a_claim_has_a_short_name_of_its_own() -> None:
    """Pages show it in place of the id, in tiles that have room for two short lines."""
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert all(3 < len(name) <= 34 for name in names)
    assert not any(re.search(r"\b[ABCX]\d|\b00\d", name) for name in names)


def test_few_claims_cannot_be_tested() -> None:
    assert {claim.id for claim in CLAIMS if claim.not_testable} == {"A4", "A5", "B5"}
    assert all(claim.falsifier or claim.not_testable for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_compares_arms_that_exist(claim: Claim) -> None:
    assert bool(claim.comparisons) != bool(claim.not_testable)
    for comparison in claim.comparisons:
        experiment = EXPERIMENTS[comparison.experiment]
        assert {experiment.arm(key).key for key in comparison.arms} == set(comparison.arms)
        weights = sum(weight for _, weight in comparison.contrast)
        assert weights == pytest.approx(0 if len(comparison.contrast) > 1 else 1)
        if comparison.metric in PAIR_MEASURES:
            assert len(comparison.contrast) == 2


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", TRAINING_EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_every_arm_is_a_valid_configuration(experiment: Experiment, scale: str) -> None:
    runs = plan.tuning_runs(experiment, scale) + plan.comparison_runs(experiment, scale, {}, [0])
    # At `tiny` a setting that an arm names may be the preset's own.
    assert len({run.digest for run in runs}) == len(runs) or scale == "tiny"
    for run in runs:
        assert RunConfig.from_dict(run.config).digest == run.digest
        assert run.config["training"]["seed"] == run.seed


def test_seeds_are_fixed_in_advance_and_tuning_has_its_own() -> None:
    for experiment in EXPERIMENTS.values():
        assert set(experiment.pairs) == set(SCALES)
        assert min(experiment.pairs[scale] for scale in SCALES[1:]) >= 5
        assert not set(experiment.tuning_seeds) & set(range(max(experiment.pairs.values())))


def test_a_share_of_the_steps_becomes_a_step() -> None:
    scope = EXPERIMENTS["scope"]
    run = plan.run_of(scope, scope.arm("switch_10"), "quick", 0)
    assert run.config["balancer"]["schedule"][0]["step"] == 20


def test_cards_name_claims_that_exist() -> None:
    for card in CARDS:
        assert set(card.claims) <= set(IDS)
        assert all(len(row) == len(card.columns) for row in card.rows)


def test_an_unknown_experiment_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="is not a known name"):
        experiments(["nothing"])
    assert experiments(["all"])[0].priority == 1


def test_every_experiment_is_documented_with_its_claims_and_pairs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    for experiment in EXPERIMENTS.values():
        claim_ids = [c.id for c in CLAIMS if any(one.experiment == experiment.id for one in c.comparisons)]
        cells = (
            f"`{experiment.id}`",
            experiment.title,
            ", ".join(claim_ids) or "–",
            len(experiment.arms),
            experiment.pairs["quick"],
            experiment.priority,
        )
        assert f"| {' | '.join(map(str, cells))} |" in docs
    assert f"{len(CLAIMS)} claims and questions" in docs
