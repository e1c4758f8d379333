"""Facts about loads: how uneven they are, in which layer, and what chance alone would show."""

import math

import numpy as np
import polars as pl

from explorer import metrics
from explorer.errors import ConfigError
from explorer.figures.arms import Arm, Run
from explorer.ui.lessons import runs as lesson_runs
from explorer.ui.lessons import steps as lesson_steps
from explorer.ui.lessons.fact_registry import FIGURES, fact
from explorer.ui.shared import cached

WINDOW = 40
"""Steps whose mean MaxVio `first_below` looks at."""


def _figure_fact(name: str, column: str) -> None:
    def function(arm: str, which: str = "mean") -> float:
        return _of_seeds(lesson_runs.find(arm), column, which)

    function.__name__ = name
    function.__doc__ = (
        f"`{column}` of an arm at its end: the mean over seeds; or `min`, `max`, `half_width` (95 % t "
        "interval), `seed 0`."
    )
    fact(function)


def _of_seeds(arm: Arm, column: str, which: str) -> float:
    found = cached.summary(cached.versions(arm.runs))
    if which.startswith("seed"):
        found = found.filter(pl.col("seed") == lesson_runs.seed_of(which))
        which = "mean"
    values = [float(v) for v in found[column].drop_nulls()]
    if not values:
        raise lesson_runs.MissingRun(f"{arm.label} has no {column} recorded.")
    interval = metrics.t_interval(values)
    known = {
        "mean": sum(values) / len(values),
        "min": min(values),
        "max": max(values),
        "half_width": math.nan if interval is None else interval[1],
    }
    if which not in known:
        raise ConfigError("which", which, "is not known", f"choose one of {', '.join(known)} or seed 0")
    return known[which]


for _name, _column in FIGURES.items():
    _figure_fact(_name, _column)


@fact
def ratio(metric: str, a: str, b: str, which: str = "mean") -> float:
    """A fact of an arm (such as `max_vio`) of arm a, divided by that of arm b."""
    if metric not in FIGURES:
        raise ConfigError("metric", metric, "is not known", f"choose one of {', '.join(FIGURES)}")
    above, below = (_of_seeds(lesson_runs.find(arm), FIGURES[metric], which) for arm in (a, b))
    return above / below


@fact
def seeds(arm: str) -> int:
    """How many seeds of an arm there are."""
    return len(lesson_runs.find(arm).runs)


@fact
def collapsed_layers(arm: str) -> int:
    """Layers, over all seeds, that ever had half of their experts' worth or less at work for 100 steps."""
    return int(_layers(arm)["collapsed"].drop_nulls().sum())


@fact
def layers(arm: str) -> int:
    """Layers over all seeds."""
    return _layers(arm).height


@fact
def dead_experts(arm: str) -> int:
    """Experts, over all layers and seeds, without one token in the last 100 steps."""
    found = (cached.dead_experts(run.version) for run in lesson_runs.find(arm).runs)
    return sum(int(frame["dead"].sum()) for frame in found)


def _layers(arm: str) -> pl.DataFrame:
    return cached.layer_balance(cached.versions(lesson_runs.find(arm).runs))


@fact
def share(arm: str, expert: str, layer: str, seed: str = "seed 0") -> float:
    """Load of the `busiest` or `idlest` expert over the last steps of a layer, times its uniform share."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    matrix = cached.load_matrix(run.version, int(layer))
    last = matrix.tokens[-metrics.last_steps(len(matrix.tokens)) :].sum(0)
    return float((last.max() if expert == "busiest" else last.min()) / last.mean())


@fact
def reference(arm: str, kind: str) -> float:
    """Random-routing baseline of seed 0: `uniform` or `resampled` for a step, `held_out` for the held-out
    text (uniform)."""
    run = lesson_runs.find(arm).first
    found = cached.references(run.version).get(f"{kind}_mean")
    if found is None:
        raise ConfigError("reference", kind, "is not known for this run", "choose uniform or held_out")
    return found


@fact
def held_out_tokens(arm: str) -> int:
    """Tokens of the held-out text that MaxVio is counted over at the end."""
    return _held_out_tokens(arm)


def _held_out_tokens(arm: str) -> int:
    run = lesson_runs.find(arm).first
    return round(int(cached.held_out_figures(run.version)["tokens"][0]) / run.top_k)


@fact
def worst_over_mean(arm: str) -> float:
    """Held-out MaxVio of the worst layer divided by the mean over layers; mean over seeds of both."""
    found = cached.summary(cached.versions(lesson_runs.find(arm).runs))
    return float(found["worst_max_vio"].mean()) / float(found["max_vio_global"].mean())  # type: ignore[arg-type]


@fact
def worst_layer_number(arm: str, seed: str = "seed 0") -> int:
    """The layer whose held-out MaxVio is the highest."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    return int(cached.summary((run.version,))["worst_layer"][0])


@fact
def max_vio_between(arm: str, first: str, last: str) -> float:
    """MaxVio of seed 0 from step `first` to step `last`, both included: mean over steps and layers."""
    steps, values = lesson_steps.max_vio(lesson_runs.find(arm, 0).first)
    inside = (steps >= int(first)) & (steps <= int(last))
    if not inside.any():
        raise ConfigError("steps", f"{first} to {last}", "are not recorded in this run", "name others")
    return float(values[inside].mean())


@fact
def first_below(arm: str, limit: str) -> int:
    """The first step (seed 0) at which the MaxVio of 40 steps, this one the last of them, has a mean below a
    limit."""
    steps, values = lesson_steps.max_vio(lesson_runs.find(arm, 0).first)
    means = np.lib.stride_tricks.sliding_window_view(values, WINDOW).mean(-1)
    below = np.flatnonzero(means < float(limit))
    if not below.size:
        raise ConfigError("limit", limit, "is never reached in this run", "choose a larger one")
    return int(steps[below[0] + WINDOW - 1])


@fact
def tokens_per_step(arm: str) -> int:
    """Tokens of a training step."""
    return lesson_runs.find(arm).first.tokens_per_step


@fact
def steps_of(arm: str) -> int:
    """Steps of an arm's training."""
    return lesson_runs.find(arm).first.num_steps


@fact
def random_max_vio(arm: str, tokens: str) -> float:
    """MaxVio that uniform-random routing of so many tokens shows, with the arm's N and K, in one layer."""
    run = lesson_runs.find(arm).first
    return metrics.uniform_reference(run.num_experts, run.top_k, int(tokens))[0]


@fact
def sequence_max_vio(arm: str, sequences: str, seed: str = "seed 0") -> float:
    """MaxVio of groups of so many neighbouring sequences of a step, mean over groups, layers and the last 20
    recorded steps."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    found = _groups(run, int(sequences))
    return float(found["max_vio"].mean())  # type: ignore[arg-type]


def _groups(run: Run, sequences: int) -> pl.DataFrame:
    found = cached.computation_batches(run.version)
    return found.filter(pl.col("sequences") == sequences)


@fact
def sequences_over_chance(arm: str, sequences: str, seed: str = "seed 0") -> float:
    """The same, divided by what random routing of as many tokens would show."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    found = _groups(run, int(sequences))
    return float(found["max_vio"].mean()) / float(found["uniform_mean"].mean())  # type: ignore[arg-type]
