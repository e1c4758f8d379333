"""What the presets of the Playground say, asked of the simulation with three seeds."""

import numpy as np
import pytest
from sentences import sentence

from explorer import metrics
from explorer.figures.views import rule_change
from explorer.figures.views.playground_choices import rule_of, scores_of
from explorer.simulate import Simulation, simulate, summary
from explorer.ui.playground.presets import BY_NAME, values_of


def pair(name: str, seed: int) -> tuple[Simulation, Simulation]:
    values = values_of(BY_NAME[name]) | {"seed": str(seed)}
    scores = scores_of(values)
    steps = int(values["S"])

    def side(name: str) -> Simulation:
        later = rule_change.parse(values[rule_change.KEYS[name]], steps)
        changes = ((later.step, later.settings(int(values["wait"]))),) if later else ()
        return simulate(scores, rule_of(values, name), steps=steps, changes=changes)

    return side("A"), side("B")


def final(simulation: Simulation) -> float:
    """MaxVio at the end, in units of random routing."""
    return summary.final_max_vio(simulation) / summary.random_reference(simulation)[0]


def steps(simulation: Simulation, after: int = 0) -> int:
    num_steps = summary.steps_to_balance(simulation, after)
    assert num_steps is not None
    return num_steps


def sign_or_proportional(a: Simulation, b: Simulation) -> None:
    assert steps(b) < steps(a) / 3
    assert 0.4 < steps(a) / (summary.spread(a) / 2 / a.rule.rate) < 1.6


def too_small(a: Simulation, b: Simulation) -> None:
    assert summary.steps_to_balance(a) is None
    assert final(a) > 3
    assert final(b) < 1.5


def right(a: Simulation, b: Simulation) -> None:
    assert final(a) < 1.2
    assert a.max_vio[:10].mean() > 5 * summary.random_reference(a)[0]


def too_large(a: Simulation, b: Simulation) -> None:
    assert a.max_vio[50:150].mean() < b.max_vio[50:150].mean()
    assert summary.steps_to_balance(a) is None
    assert summary.turning_share(a) > 0.7
    assert final(a) > 1.5 * final(b)


def proportional_too_large(a: Simulation, b: Simulation) -> None:
    assert summary.steps_to_balance(a) is None
    assert final(a) > 3 * final(b)
    assert summary.turning_share(a) > 0.7


def softmax(a: Simulation, b: Simulation) -> None:
    assert summary.steps_to_balance(a) is None
    assert final(a) > 2.5 * final(b)
    assert 100 < steps(b) < 300


def limit_cycle(a: Simulation, b: Simulation) -> None:
    assert summary.turning_share(a) > 0.95
    assert summary.final_max_vio(b) < 0.01 < summary.final_max_vio(a)


def quantile(a: Simulation, b: Simulation) -> None:
    assert steps(b) <= 5 < 100 < steps(a)
    assert final(b) > final(a)


def smebu(a: Simulation, b: Simulation) -> None:
    assert a.rule.rate == b.rule.rate
    assert summary.steps_to_balance(a) is None
    assert summary.turning_share(a) > 0.8
    assert steps(b) < 30
    assert final(b) < 1.2
    last, first = np.abs(np.diff(b.bias[-50:], axis=0)), np.abs(np.diff(b.bias[:10], axis=0))
    assert last.mean() < first.mean() / 3


def shift(a: Simulation, b: Simulation) -> None:
    assert steps(a, a.scores.shift_step) > 100
    assert steps(b, b.scores.shift_step) < 50


def drift(a: Simulation, b: Simulation) -> None:
    assert final(a) < 1.2
    assert final(b) > 1.5


def collapse(a: Simulation, b: Simulation) -> None:
    assert metrics.effective_experts(a.counts[-1]) < 4
    assert final(b) < 1.5


def rescue(a: Simulation, b: Simulation) -> None:
    for simulation in (a, b):
        assert simulation.max_vio[200:250].mean() > 5 * summary.random_reference(simulation)[0]
        steps(simulation, simulation.rule.start_step)


def switched_on(a: Simulation, b: Simulation) -> None:
    ((step, _),) = a.changes
    assert a.max_vio[step - 50 : step].mean() > 5 * summary.random_reference(a)[0]
    assert steps(a, step) > steps(b)
    assert final(a) < 2


def auxiliary(a: Simulation, b: Simulation) -> None:
    assert final(a) < 1.2
    assert (a.bias == 0).all()
    assert (a.learnt[-1] != 0).any()
    assert (b.learnt == 0).all()


STORIES = {
    "Sign or proportional": sign_or_proportional,
    "u too small": too_small,
    "u right": right,
    "u too large": too_large,
    "Proportional too large": proportional_too_large,
    sentence("playground.story_too_large"): softmax,
    "Limit cycle": limit_cycle,
    "Quantile": quantile,
    "SMEBU": smebu,
    "Sudden shift": shift,
    "Drift": drift,
    "Collapse": collapse,
    "Rescue": rescue,
    sentence("playground.story_switch"): switched_on,
    "Auxiliary loss": auxiliary,
}


def test_every_preset_has_its_story_tested() -> None:
    assert set(STORIES) == set(BY_NAME)


@pytest.mark.parametrize("name", list(STORIES))
def test_a_story_holds_for_three_seeds(name: str) -> None:
    for seed in range(3):
        STORIES[name](*pair(name, seed))
