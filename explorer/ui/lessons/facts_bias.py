"""Facts about biases, recorded and simulated."""

from collections.abc import Callable

import numpy as np

from explorer import metrics
from explorer.errors import ConfigError
from explorer.simulate import summary as simulated_summary
from explorer.ui.lessons import bias as lesson_bias
from explorer.ui.lessons import runs as lesson_runs
from explorer.ui.lessons import simulations as lesson_simulations
from explorer.ui.lessons import steps as lesson_steps
from explorer.ui.lessons.fact_registry import fact


@fact
def bias_step(arm: str, layer: str, step: str, expert: str, what: str) -> float:
    """One number of one bias update, seed 0: `tokens`, `mean`, `error`, `sign`, `before`, `after`, `rate` or
    `expert` of the `busiest` or `idlest` expert."""
    run = lesson_runs.find(arm, 0).first
    found, _ = lesson_bias.opened(run, int(layer), int(step))
    return lesson_bias.number(found, expert, what)


@fact
def updates_equal(arm: str) -> int:
    """Those that come out as logged: to the last bit, or to rounding where the rule adds up fractions."""
    return lesson_bias.updates(lesson_runs.find(arm, 0).first)[0]


@fact
def updates(arm: str) -> int:
    """Bias updates of seed 0, of single experts, that can be worked out and held against the next step."""
    return lesson_bias.updates(lesson_runs.find(arm, 0).first)[1]


@fact
def bias_spread(arm: str) -> float:
    """Largest minus smallest bias in the last step of the training, mean over layers, seed 0."""
    run = lesson_runs.find(arm, 0).first
    last = np.array([lesson_steps.biases(run, layer)[-1] for layer in run.layers])
    return float((last.max(-1) - last.min(-1)).mean())


@fact
def peak_bias_spread(arm: str, layer: str) -> float:
    """The largest distance between two biases of a layer in any step, seed 0."""
    bias = lesson_steps.biases(lesson_runs.find(arm, 0).first, int(layer))
    return float(np.nanmax(bias.max(-1) - bias.min(-1)))


@fact
def turning_share(arm: str) -> float:
    """Share of bias moves, over all steps, layers and experts of seed 0, that go against the move before."""
    run = lesson_runs.find(arm, 0).first
    moves = np.stack([np.diff(lesson_steps.biases(run, layer), axis=0) for layer in run.layers])
    pairs = moves[:, :-1] * moves[:, 1:]
    return float((pairs < 0).sum() / ((pairs < 0) | (pairs > 0)).sum())


@fact
def thumb_steps(arm: str, layer: str) -> float:
    """Peak distance of two biases of a layer divided by 2u: what the rule would take with fixed scores."""
    rate = lesson_bias.plain_rate(lesson_runs.find(arm, 0).first)
    return float(peak_bias_spread(arm, layer)) / (2 * rate)


@fact
def simulated(what: str, *settings: str) -> float:
    """A figure of a simulation: `first` (MaxVio of 10 steps), `final`, `reference`, `effective_experts`,
    `spread`, `turning` or `steps`, then `side=A` and settings as in the Playground's address."""
    given = dict(pair.split("=", 1) for pair in settings)
    simulation = lesson_simulations.simulation(given, given.pop("side", "A"))
    figures: dict[str, Callable[[], float]] = {
        "first": lambda: float(simulation.max_vio[:10].mean()),
        "final": lambda: simulated_summary.final_max_vio(simulation),
        "reference": lambda: simulated_summary.random_reference(simulation)[0],
        "effective_experts": lambda: float(metrics.effective_experts(simulation.counts[-1])),
        "spread": lambda: simulated_summary.spread(simulation),
        "turning": lambda: simulated_summary.turning_share(simulation),
        "steps": lambda: _steps(simulated_summary.steps_to_balance(simulation, simulation.rule.start_step)),
    }
    if what not in figures:
        raise ConfigError("figure", what, "is not known", f"choose one of {', '.join(figures)}")
    return figures[what]()


def _steps(found: int | None) -> int:
    if found is None:
        raise ConfigError("steps", None, "this simulation never balances", "ask for another figure")
    return found
