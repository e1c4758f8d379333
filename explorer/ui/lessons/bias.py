"""One recorded update of the biases as lessons tell it, and how many of a run come out as logged."""

from functools import cache, partial

import numpy as np
import polars as pl

from explorer.config.rule_text import LossFree
from explorer.errors import ConfigError, one_of
from explorer.figures import bias_step
from explorer.figures.arms import Run
from explorer.figures.biases import config_of
from explorer.routing.bias_step import BiasStep, rule_in_force, work_out
from explorer.ui.shared import cached


def opened(run: Run, layer: int, step: int) -> tuple[BiasStep, pl.DataFrame]:
    """The update after `step`, and what was logged around it (`queries.bias_step`).

    Raises ConfigError where the step is not recorded, or its update cannot be worked out.
    """
    rows = cached.bias_step(run.version, layer, step)
    if rows.is_empty() or int(rows["step"][0]) != step:
        raise ConfigError("step", step, "has no recorded loads in this run", "name a recorded step")
    found = bias_step.open_step(run, rows)
    if isinstance(found, str):
        raise ConfigError("step", step, found.rstrip("."), "name another step or run")
    return found, rows


def expert_of(found: BiasStep, which: str) -> int:
    """The `busiest` or the `idlest` expert, the first of several."""
    one_of("expert", which, ("busiest", "idlest"))
    return int(found.tokens_E.argmax() if which == "busiest" else found.tokens_E.argmin())


def number(found: BiasStep, which: str, what: str) -> float:
    """One number of the update of that expert."""
    expert = expert_of(found, which)
    error = found.mean - int(found.tokens_E[expert])
    numbers = {
        "expert": expert,
        "tokens": int(found.tokens_E[expert]),
        "mean": float(found.mean),
        "error": float(error),
        "sign": float((error > 0) - (error < 0)),
        "before": float(found.before_E[expert]),
        "after": float(found.after_E[expert]),
        "rate": found.force.rate,
    }
    one_of("number", what, numbers)
    return numbers[what]


def table(found: BiasStep, rows: pl.DataFrame) -> pl.DataFrame:
    """All experts as numbers, for the figure's table and its files; recorded: NULL where none was."""
    return pl.DataFrame(
        {
            "expert": rows["expert"],
            "tokens": rows["tokens"],
            "mean": [float(found.mean)] * rows.height,
            "error": [float(found.mean - int(c)) for c in found.tokens_E],
            "direction": pl.Series(found.direction_E),
            "before": pl.Series(found.before_E),
            "after": pl.Series(found.after_E),
            "recorded": rows["logged"].cast(pl.Float32),
        }
    )


def plain_rate(run: Run) -> float:
    """u. Raises ConfigError unless one plain sign rule with a constant u moves the bias all the time."""
    last = rule_in_force(config_of(run), run.last_step)
    # Whatever else a rule has (centring, decay, memory, freezing, factors) makes it another one.
    if (
        isinstance(last, str)
        or last.rule != LossFree(bias_update_rate=last.rule.bias_update_rate)
        or last.updates != run.last_step + 1
    ):
        raise ConfigError("balancer", run.balancer, "is not the plain sign rule", "name a loss-free run")
    return last.rule.bias_update_rate


def updates(run: Run) -> tuple[int, int]:
    """How many recorded updates of single experts come out as logged, and how many can be worked out."""
    force_at = cache(partial(rule_in_force, config_of(run)))
    equal = total = 0
    for layer in run.layers:
        matrix = cached.load_matrix(run.version, layer)
        if matrix.bias is None or not np.array_equal(matrix.steps, matrix.last_steps):
            continue
        bias = matrix.bias.astype(np.float32)
        for at in np.flatnonzero(np.diff(matrix.steps) == 1):
            force = force_at(int(matrix.steps[at]))
            if isinstance(force, str) or force.restarts or np.isnan(bias[at : at + 2]).any():
                continue
            same = work_out(force, matrix.tokens[at], bias[at]).equals(bias[at + 1])
            equal += int(same.sum())
            total += same.size
    return equal, total
