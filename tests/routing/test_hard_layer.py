"""Where solving for the bias pays, and where not: tokens that move together, and tokens that do not."""

import numpy as np

from explorer.simulate.dynamics import simulate
from explorer.simulate.settings import RuleSettings, ScoreSettings

SIZES = {"num_experts": 32, "top_k": 4, "num_tokens": 1024}
# Tokens of a domain score nearly alike, come in sequences, and the offsets turn: loads jump.
HARD = {"skew": 2.0, "noise": 0.3, "domains": 16, "domain_skew": 1.0, "sequence_tokens": 8, "drift": 2.0}
EASY = {"skew": 1.0, "noise": 1.0}


def late_max_vio(layer, rule: str, rate: float, seed: int) -> np.ndarray:
    """[S] MaxVio of the last two thirds of a run."""
    scores = ScoreSettings(**SIZES, **layer, seed=seed)
    return simulate(scores, RuleSettings(rule=rule, rate=rate), steps=450).max_vio[150:]


def test_on_a_hard_layer_the_quantile_is_evener_and_its_spikes_are_smaller() -> None:
    solved = late_max_vio(HARD, "quantile", 1.0, seed=0)
    for rate in (0.001, 0.01):
        stepped = late_max_vio(HARD, "sign", rate, seed=0)
        assert solved.mean() < 0.8 * stepped.mean()
        assert np.quantile(solved, 0.99) < 0.8 * np.quantile(stepped, 0.99)


def test_on_a_layer_that_sign_steps_balance_it_has_no_advantage() -> None:
    solved = late_max_vio(EASY, "quantile", 1.0, seed=0)
    stepped = late_max_vio(EASY, "sign", 0.001, seed=0)
    # It follows the noise of every batch; a memory takes that away again.
    assert stepped[150:].mean() < solved[150:].mean()
    assert late_max_vio(EASY, "quantile", 0.1, seed=0)[150:].mean() < solved[150:].mean()
