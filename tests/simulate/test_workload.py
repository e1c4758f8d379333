"""Workloads with a stated imbalance, and log-normal popularity."""

from dataclasses import replace

import numpy as np
import pytest

from explorer import metrics
from explorer.figures.views import playground, playground_choices
from explorer.simulate import RuleSettings, ScoreSettings, simulate
from explorer.simulate.scores import Scores
from explorer.simulate.workload import max_vio_at, max_vio_of_steps, with_max_vio

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


def slow_max_vio(scores: np.ndarray, top_k: int) -> float:
    loads = [0] * scores.shape[1]
    for row in scores.tolist():
        for expert in sorted(range(len(row)), key=lambda e: (-row[e], e))[:top_k]:
            loads[expert] += 1
    return max(loads) * len(loads) / sum(loads) - 1


def test_the_mean_of_single_steps_is_that_of_loops_and_of_the_picture() -> None:
    """Few tokens, of few domains, are less even than all tokens together; the note says by how much."""
    settings = replace(SMALL, num_tokens=4096, domains=4, domain_skew=2.0, sequence_tokens=64)
    solved = with_max_vio(settings, 2.0)
    source = Scores(solved)
    sample = source.of(source.weights[: 2**20 // 16], source.offset_of(solved.skew))
    steps = [slow_max_vio(part, 2) for part in np.split(sample, 16)]
    assert max_vio_of_steps(solved) == pytest.approx(sum(steps) / 16)
    few = replace(solved, num_tokens=512)
    assert max_vio_of_steps(few) > max_vio_at(few, few.skew) + 0.3
    run = simulate(few, RuleSettings(rule="none"), steps=100)
    assert run.max_vio.mean() == pytest.approx(max_vio_of_steps(few), rel=0.1)


def test_the_note_says_what_is_reached() -> None:
    values = {choice.key: choice.default for choice in playground_choices.CHOICES} | {"seed": "0"}
    assert playground_choices.solved_skew(values) == ""
    near = playground_choices.solved_skew(values | {"vio": "2"})
    assert "gives MaxVio 2.00 without balancing; in single steps of 512 tokens it is" in near
    few = playground_choices.solved_skew(values | {"vio": "5", "N": "8", "K": "2"})
    assert "gives MaxVio 3.00 without balancing, the nearest to 5;" in few


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
