"""Facts about loads: how uneven they are, in which layer, and what chance alone would show."""

import math

import numpy as np
import polars as pl

from explorer import metrics
from explorer.errors import ConfigError
from explorer.figures import computation_batches, expert_order, final
from explorer.figures.arms import Arm, Run
from explorer.figures.facts import steps
from explorer.figures.facts.recorded import MissingRun, RecordedRuns, seed_of
from explorer.figures.facts.registry import COLUMNS, fact
from explorer.queries import balance, comparison, health
from explorer.queries.loads import load_matrix

WINDOW = 40
"""Steps whose mean MaxVio `first_below` looks at."""


def _figure_fact(name: str, column: str) -> None:
    def function(recorded: RecordedRuns, arm: str, which: str = "mean") -> float:
        return _of_seeds(recorded, recorded.find(arm), column, which)

    function.__name__ = name
    function.__doc__ = (
        f"`{column}` of an arm at its end: the mean over seeds; or `min`, `max`, `half_width` (95 % t "
        "interval), `seed 0`."
    )
    fact(function)


def _of_seeds(recorded: RecordedRuns, arm: Arm, column: str, which: str) -> float:
    rows = recorded.ask(comparison.summary, arm.runs)
    if which.startswith("seed"):
        rows = rows.filter(pl.col("seed") == seed_of(which))
        which = "mean"
    values = final.recorded_values(rows[column])
    mean, interval = final.mean(values), metrics.t_interval(values)
    if mean is None:
        raise MissingRun(f"{arm.label} has no {column} recorded.")
    summaries = {
        "mean": mean,
        "min": min(values),
        "max": max(values),
        "half_width": math.nan if interval is None else interval[1],
    }
    if which not in summaries:
        options = ", ".join(summaries)
        raise ConfigError("which", which, "is not known", f"choose one of {options} or seed 0")
    return summaries[which]


for _name, _column in COLUMNS.items():
    _figure_fact(_name, _column)


@fact
def ratio(recorded: RecordedRuns, metric: str, a: str, b: str, which: str = "mean") -> float:
    """A fact of an arm (such as `max_vio`): that of arm a divided by that of arm b."""
    if metric not in COLUMNS:
        raise ConfigError("metric", metric, "is not known", f"choose one of {', '.join(COLUMNS)}")
    above, below = (_of_seeds(recorded, recorded.find(arm), COLUMNS[metric], which) for arm in (a, b))
    return above / below


@fact
def seeds(recorded: RecordedRuns, arm: str) -> int:
    """Number of seeds of an arm."""
    return len(recorded.find(arm).runs)


@fact
def collapsed_layers(recorded: RecordedRuns, arm: str) -> int:
    """Layers, over all seeds, whose effective experts were at most half of E for 100 steps."""
    return final.collapsed_layers(recorded.ask, recorded.find(arm))[1]


@fact
def layers(recorded: RecordedRuns, arm: str) -> int:
    """Number of layers over all seeds."""
    return recorded.ask(balance.layer_balance, recorded.find(arm).runs).height


@fact
def dead_experts(recorded: RecordedRuns, arm: str) -> int:
    """Experts, over all layers and seeds, without a token in the last 100 steps."""
    layers = (recorded.ask(health.dead_experts, run) for run in recorded.find(arm).runs)
    return sum(int(rows["dead"].sum()) for rows in layers)


@fact
def share(recorded: RecordedRuns, arm: str, expert: str, layer: str, seed: str = "seed 0") -> float:
    """Load of the `busiest` or `idlest` expert over the last steps of a layer, × uniform."""
    run = recorded.find(arm, seed_of(seed)).first
    last = expert_order.mean_loads(recorded.ask(load_matrix, run, int(layer)), final=True)
    return float((last.max() if expert == "busiest" else last.min()) / last.mean())


@fact
def reference(recorded: RecordedRuns, arm: str, kind: str) -> float:
    """Random-routing baseline of seed 0: `uniform` or `resampled` for a step, `held_out` for the held-out
    text (uniform)."""
    run = recorded.find(arm).first
    baseline = recorded.ask(balance.references, run).get(f"{kind}_mean")
    if baseline is None:
        raise ConfigError("reference", kind, "is not known for this run", "choose uniform or held_out")
    return baseline


@fact
def held_out_tokens(recorded: RecordedRuns, arm: str) -> int:
    """Held-out tokens that the final MaxVio is counted over."""
    return computation_batches.held_out_tokens(recorded.ask, recorded.find(arm).first)


@fact
def worst_over_mean(recorded: RecordedRuns, arm: str) -> float:
    """Held-out MaxVio of the worst layer divided by the mean over layers; mean over seeds of both."""
    worst, mean = (
        _of_seeds(recorded, recorded.find(arm), column, "mean")
        for column in ("worst_max_vio", "max_vio_global")
    )
    return worst / mean


@fact
def worst_layer_number(recorded: RecordedRuns, arm: str, seed: str = "seed 0") -> int:
    """The layer with the highest held-out MaxVio."""
    run = recorded.find(arm, seed_of(seed)).first
    return int(recorded.ask(comparison.summary, [run])["worst_layer"][0])


@fact
def max_vio_between(recorded: RecordedRuns, arm: str, first: str, last: str) -> float:
    """MaxVio of seed 0 from step `first` to step `last`, both included: mean over steps and layers."""
    recorded_steps, values = steps.max_vio(recorded, recorded.find(arm, 0).first)
    inside = (recorded_steps >= int(first)) & (recorded_steps <= int(last))
    if not inside.any():
        raise ConfigError("steps", f"{first} to {last}", "are not recorded in this run", "name others")
    return float(values[inside].mean())


@fact
def first_below(recorded: RecordedRuns, arm: str, limit: str) -> int:
    """The first step (seed 0) at which the mean MaxVio of the last 40 steps is below a limit."""
    recorded_steps, values = steps.max_vio(recorded, recorded.find(arm, 0).first)
    means = np.lib.stride_tricks.sliding_window_view(values, WINDOW).mean(-1)
    below = np.flatnonzero(means < float(limit))
    if not below.size:
        raise ConfigError("limit", limit, "is never reached in this run", "choose a larger one")
    return int(recorded_steps[below[0] + WINDOW - 1])


@fact
def tokens_per_step(recorded: RecordedRuns, arm: str) -> int:
    """Tokens per training step."""
    return recorded.find(arm).first.tokens_per_step


@fact
def steps_of(recorded: RecordedRuns, arm: str) -> int:
    """Number of training steps."""
    return recorded.find(arm).first.num_steps


@fact
def random_max_vio(recorded: RecordedRuns, arm: str, tokens: str) -> float:
    """MaxVio of uniform-random routing of this many tokens with the arm's N and K, in one layer."""
    run = recorded.find(arm).first
    return metrics.uniform_reference(run.num_experts, run.top_k, int(tokens))[0]


@fact
def sequence_max_vio(recorded: RecordedRuns, arm: str, sequences: str, seed: str = "seed 0") -> float:
    """MaxVio of groups of this many neighbouring sequences of a step, mean over groups, layers and the last
    20 recorded steps."""
    run = recorded.find(arm, seed_of(seed)).first
    return _groups(recorded, run, int(sequences))[0]


def _groups(recorded: RecordedRuns, run: Run, sequences: int) -> tuple[float, float]:
    """MaxVio of groups of this many sequences, and the random-routing baseline of as many tokens."""
    rows = computation_batches.by_size(recorded.ask, run).filter(pl.col("sequences") == sequences)
    if rows.is_empty():
        raise ConfigError("sequences", sequences, "was not measured in this run", "name a power of two")
    return float(rows["max_vio"][0]), float(rows["uniform"][0])


@fact
def sequences_over_chance(recorded: RecordedRuns, arm: str, sequences: str, seed: str = "seed 0") -> float:
    """The same divided by the random-routing baseline for as many tokens."""
    run = recorded.find(arm, seed_of(seed)).first
    max_vio, uniform = _groups(recorded, run, int(sequences))
    return max_vio / uniform
