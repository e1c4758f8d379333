"""Workloads with a stated imbalance, and log-normal popularity."""

from dataclasses import replace

import numpy as np
import pytest

from explorer import metrics
from explorer.figures.views import playground
from explorer.simulate import RuleSettings, ScoreSettings, simulate
from explorer.simulate.scores import Scores
from explorer.simulate.workload import max_vio_at, with_max_vio

SMALL = ScoreSettings(num_experts=16, top_k=2, num_tokens=1024)


def measured(settings: ScoreSettings) -> float:
    """MaxVio of all tokens of a simulation without balancing."""
    run = simulate(settings, RuleSettings(rule="none"), steps=40)
    return float(np.asarray(metrics.max_vio(run.counts.sum(0))))


@pytest.mark.parametrize("kind", ["normal", "gumbel"])
@pytest.mark.parametrize("target", [0.5, 1.0, 3.0])
def test_the_solved_skew_gives_the_target(target: float, kind: str) -> None:
    solved = with_max_vio(replace(SMALL, noise_kind=kind), target)
    assert max_vio_at(solved, solved.skew) == pytest.approx(target, abs=0.01)
    # Tokens that the solution did not see: within sampling noise of it.
    assert measured(solved) == pytest.approx(target, abs=0.05, rel=0.05)
    assert replace(solved, skew=SMALL.skew) == replace(SMALL, noise_kind=kind)


def test_a_target_out_of_reach_gives_the_nearest_end() -> None:
    assert with_max_vio(SMALL, 0.0).skew == 0.0
    few = replace(SMALL, num_experts=4, top_k=2)
    assert with_max_vio(few, 3.0).skew == 5.0
    assert max_vio_at(few, 5.0) <= 1.0


def test_gumbel_noise_draws_experts_in_proportion_to_a_log_normal_popularity() -> None:
    settings = ScoreSettings(num_experts=8, top_k=1, num_tokens=4096, skew=1.0, noise_kind="gumbel", seed=3)
    run = simulate(settings, RuleSettings(rule="none"), steps=60)
    share = run.counts.sum(0) / run.counts.sum()
    popularity = np.exp(Scores(settings).offset(0))
    expected = popularity / popularity.sum()
    assert share == pytest.approx(expected, abs=0.01)
    assert np.abs(share - expected).max() < 0.2 * np.abs(share - 1 / 8).max()


def test_the_playground_reads_both_from_its_address() -> None:
    view = playground.open_view(None, (), {"vio": ["2"], "pop": ["log-normal"], "S": ["200"]})  # type: ignore[arg-type]
    assert not view.notices
    scores = view.questions[0].settings.scores
    assert scores.noise_kind == "gumbel"
    assert max_vio_at(scores, scores.skew) == pytest.approx(2.0, abs=0.01)
    plain = playground.open_view(None, (), {}).questions[0].settings.scores  # type: ignore[arg-type]
    assert (plain.noise_kind, plain.skew) == ("normal", 1.0)
