"""Facts about biases, recorded and simulated."""

from collections.abc import Callable

import polars as pl

from explorer import metrics
from explorer.errors import ConfigError
from explorer.simulate import summary as simulated_summary
from explorer.ui import cached, lesson_bias, lesson_runs, lesson_simulations
from explorer.ui.lesson_fact_registry import fact


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
    """Largest minus smallest bias after the training, mean over layers, seed 0."""
    run = lesson_runs.find(arm, 0).first
    spreads = []
    for layer in range(run.num_moe_layers):
        frame = cached.bias_trajectories(run.version, layer)
        last = frame.filter(pl.col("last_step") == pl.col("last_step").max())["bias_last"]
        spreads.append(float(last.max()) - float(last.min()))  # type: ignore[arg-type]
    return sum(spreads) / len(spreads)


@fact
def peak_bias_spread(arm: str, layer: str) -> float:
    """The largest distance between two biases of a layer at any time, seed 0."""
    run = lesson_runs.find(arm, 0).first
    frame = cached.bias_trajectories(run.version, int(layer))
    apart = frame.group_by("bin").agg(apart=pl.col("bias_last").max() - pl.col("bias_last").min())
    return float(apart["apart"].max())  # type: ignore[arg-type]


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
