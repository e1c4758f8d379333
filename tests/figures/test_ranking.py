"""Sentences that rank rules: only over seeds that the ranked ones share, with an interval."""

import chart_frames as frames
import pytest
from sentences import sentence

from explorer.charts import captions, ranking
from explorer.figures import specialisation

LOSS_FREE = "loss-free u=0.003 (global batch scope)"
AUX = "auxiliary loss α=0.01 (global batch scope)"


def run(balancer: str, seed: int, perplexity: float, violation: float) -> tuple[object, ...]:
    return (balancer, "global_batch", seed, perplexity, violation)


def test_rules_are_ranked_over_the_seeds_that_they_share() -> None:
    text = ranking.dilemma_plane(frames.summary_frame(frames.SWEEP))
    assert text.startswith(sentence("ranking.lowest_perplexity", seeds="0, 1", rules=2, arm=LOSS_FREE))
    assert f"({captions.number(12.05)}, " in text
    assert sentence("ranking.lowest_max_vio", arm=LOSS_FREE) in text
    assert text.endswith(sentence("ranking.too_few_seeds", rules=3))


def test_the_mean_of_seeds_is_not_ranked_against_a_single_run_of_the_worst_seed() -> None:
    # Seed 0 is the worst one of all rules: at seed 0 the single run is ahead.
    means = [run("loss_free", 0, 23.1, 0.1), run("loss_free", 1, 22.0, 0.1), run("loss_free", 2, 22.1, 0.1)]
    single = run("quantile", 0, 22.7, 0.2)
    text = ranking.dilemma_plane(frames.summary_frame([*means, single]))
    assert text == sentence(
        "ranking.not_ranked", rules=2, low="22.0", high="23.1", even="0.10", uneven="0.20"
    )


def test_a_lead_within_its_interval_is_no_lead() -> None:
    rows = [run("loss_free", seed, value, 0.1 + seed / 100) for seed, value in enumerate((12.0, 12.5, 12.2))]
    rows += [run("aux_loss", seed, value, 0.5 + seed / 90) for seed, value in enumerate((12.4, 12.3, 12.1))]
    text = ranking.dilemma_plane(frames.summary_frame(rows))
    assert sentence("ranking.lead_not_significant") in text
    assert sentence("ranking.lowest_max_vio", arm=LOSS_FREE) + " (0.11, 0.40 ± 0.00" in text
    assert f" below {AUX})" in text


def test_one_rule_is_described_and_not_ranked() -> None:
    text = ranking.dilemma_plane(frames.summary_frame(frames.SWEEP[:1]))
    assert text == sentence("ranking.one_rule", perplexity="12.4", max_vio="3.10")


@pytest.mark.parametrize(
    ("second", "verdict"),
    [((0.30, 0.31, 0.29), "significant."), ((0.30, 0.60, 0.45), sentence("captions.not_significant") + ".")],
)
def test_methods_are_compared_over_all_seeds_and_layers(second: tuple[float, ...], verdict: str) -> None:
    rows = [("loss-free", dict(enumerate((0.50, 0.52, 0.51)))), ("auxiliary loss", dict(enumerate(second)))]
    text = specialisation.distance_sentence(rows)
    assert text.startswith(sentence("ranking.domain_distance", seeds="3 seeds") + " 0.51 with loss-free")
    assert text.endswith(verdict)
    assert verdict.startswith("not") == (sentence("captions.not_significant") in text)


def test_single_runs_do_not_rank_methods() -> None:
    text = specialisation.distance_sentence([("loss-free", {0: 0.41}), ("auxiliary loss", {0: 0.46, 1: 0.2})])
    assert sentence("ranking.domain_distances", value="0.46", other="0.41") in text
    assert text.endswith(sentence("ranking.too_few_common_seeds"))
