"""The behaviour of the step sizes, in kind: set-ups, orders of magnitude and order of the rules.

Frozen scores: sigmoid(N(0, 1) + 1.2·N(0, 1) an expert), T = 512, E = 8, K = 1. Fresh scores: T = 2048,
E = 16, K = 2, offsets such that the biases have to end about 0.8 apart. Digits depend on the draw and are
not compared.
"""

import numpy as np
import pytest

from explorer.metrics import uniform_reference
from explorer.simulate import RuleSettings, Scores, ScoreSettings, simulate
from explorer.simulate.assignment import lp_optimum
from explorer.simulate.descent import Descent, descend

FROZEN = ScoreSettings(num_experts=8, top_k=1, num_tokens=512, skew=1.2, source="frozen")
FRESH = ScoreSettings(num_experts=16, top_k=2, num_tokens=2048, skew=1.3)
BAND = 7
CHECKPOINTS = (100, 1000, 3000)


@pytest.fixture(scope="module")
def frozen() -> dict[str, Descent]:
    source = Scores(FROZEN)
    scores = source.of(source.weights, source.offset(0)).astype(np.float64)
    rules = {
        "sign 1e-2": (RuleSettings(rate=1e-2), 600),
        "sign 1e-3": (RuleSettings(rate=1e-3), 1000),
        "sign 1e-4": (RuleSettings(rate=1e-4), 4500),
        "proportional 0.01": (RuleSettings(rule="proportional", rate=0.01), 600),
        "proportional 1/n": (RuleSettings(rule="proportional", rate=1.0, step_decay="harmonic"), 600),
        "proportional 0.1/√n": (RuleSettings(rule="proportional", rate=0.1, step_decay="sqrt"), 600),
    }
    return {name: descend(scores, 1, rule, steps) for name, (rule, steps) in rules.items()}


@pytest.fixture(scope="module")
def optimum() -> float:
    source = Scores(FROZEN)
    return lp_optimum(source.of(source.weights, source.offset(0)).astype(np.float64), 1).value


def within_band(run: Descent) -> int:
    """Updates until all loads are within E - 1 tokens of the balanced load."""
    return int(np.flatnonzero(run.deviation <= BAND)[0])


@pytest.mark.parametrize(("name", "u"), [("sign 1e-3", 1e-3), ("sign 1e-4", 1e-4)])
def test_the_sign_rule_needs_about_spread_over_2u_steps(
    frozen: dict[str, Descent], name: str, u: float
) -> None:
    run = frozen[name]
    spread = float(np.ptp(run.prices[-1]))
    assert within_band(run) == pytest.approx(spread / (2 * u), rel=0.5)


def test_a_tenth_of_the_rate_takes_ten_times_as_long(frozen: dict[str, Descent]) -> None:
    ratio = within_band(frozen["sign 1e-4"]) / within_band(frozen["sign 1e-3"])
    assert ratio == pytest.approx(10, rel=0.1)


def test_proportional_rules_are_much_faster(frozen: dict[str, Descent]) -> None:
    sign = within_band(frozen["sign 1e-3"])
    assert within_band(frozen["proportional 0.01"]) < sign / 3
    assert within_band(frozen["proportional 1/n"]) < sign / 6
    assert within_band(frozen["proportional 0.1/√n"]) < sign / 6


def test_a_constant_sign_step_ends_in_an_exact_cycle_as_wide_as_the_step(frozen: dict[str, Descent]) -> None:
    wide, narrow = frozen["sign 1e-2"], frozen["sign 1e-3"]
    for run in (wide, narrow):
        tail = run.loads[-40:]
        assert any((tail[period:] == tail[:-period]).all() for period in range(1, 21)), "no cycle"
        assert (np.diff(tail, axis=0) != 0).any(), "at rest"
    assert wide.deviation[-100:].max() > 2 * narrow.deviation[-100:].max()
    swing = [float(np.ptp(run.prices[-40:], axis=0).max()) for run in (wide, narrow)]
    assert swing[0] / swing[1] == pytest.approx(10, rel=0.6)


def test_the_final_gap_follows_the_rate(frozen: dict[str, Descent], optimum: float) -> None:
    gap = {name: float(run.dual[-100:].mean() - optimum) for name, run in frozen.items()}
    assert gap["sign 1e-2"] > 10 * gap["sign 1e-3"] > 10 * gap["sign 1e-4"] >= 0
    assert max(gap["proportional 1/n"], gap["proportional 0.1/√n"]) < gap["sign 1e-3"]


@pytest.fixture(scope="module")
def fresh() -> dict[str, tuple[float, list[float]]]:
    rules = {
        "sign 1e-2": RuleSettings(rate=1e-2),
        "sign 1e-3": RuleSettings(rate=1e-3),
        "sign 1e-4": RuleSettings(rate=1e-4),
        "rms 1e-3": RuleSettings(rule="rms", rate=1e-3),
        "proportional 0.01": RuleSettings(rule="proportional", rate=0.01),
        "proportional 1/n": RuleSettings(rule="proportional", rate=1.0, step_decay="harmonic"),
        "sign 0.01/√n": RuleSettings(rate=0.01, step_decay="sqrt"),
    }
    table = {}
    for name, rule in rules.items():
        result = simulate(FRESH, rule, steps=3000, held_out_steps=CHECKPOINTS, held_out_tokens=100_000)
        held = result.max_vio_global
        table[name] = float(result.max_vio[-500:].mean()), [held[step] for step in CHECKPOINTS]
    return table


Fresh = dict[str, tuple[float, list[float]]]


def test_good_rules_end_at_the_level_of_random_routing(fresh: Fresh) -> None:
    floor = uniform_reference(16, 2, 2048)[0]
    for name in ("sign 1e-3", "rms 1e-3", "proportional 0.01", "proportional 1/n", "sign 0.01/√n"):
        assert fresh[name][0] == pytest.approx(floor, rel=0.15), name


def test_a_large_sign_step_stays_above_and_a_small_one_is_still_on_its_way(fresh: Fresh) -> None:
    floor = uniform_reference(16, 2, 2048)[0]
    assert 1.3 * floor < fresh["sign 1e-2"][0] < 3 * floor
    assert fresh["sign 1e-4"][0] > 2 * floor


def test_held_out_loads_tell_too_slow_from_too_large(fresh: Fresh) -> None:
    early, middle, late = (
        {name: values[i] for name, (_, values) in fresh.items()} for i in range(len(CHECKPOINTS))
    )
    assert early["sign 1e-2"] < early["rms 1e-3"] < early["sign 1e-3"] < early["sign 1e-4"]
    assert early["proportional 0.01"] < 0.2
    assert middle["sign 1e-3"] < 0.1 < middle["sign 1e-2"]
    assert middle["sign 1e-4"] > 1
    assert late["sign 1e-2"] > 2 * late["sign 1e-3"]
    assert max(late["proportional 1/n"], late["sign 0.01/√n"]) < late["sign 1e-2"] / 3
