"""Recorded bias updates of a run, recomputed from its logged counts and compared with its log."""

from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
import polars as pl

from explorer.config.rule_text import LossFree
from explorer.errors import ConfigError, one_of
from explorer.figures.arms import Run
from explorer.figures.biases import config_of
from explorer.figures.pairs import Ask
from explorer.queries import bias_step as queries
from explorer.queries.loads import load_matrix
from explorer.routing.bias_step import BiasStep, Floats, recompute, rule_in_force

Update = tuple[BiasStep, pl.DataFrame]
"""An update and the logged rows around it (`queries.bias_step`)."""


def open_step(run: Run, rows: pl.DataFrame) -> BiasStep | str:
    """The update after a step, or a sentence on why it cannot be recomputed. rows: `queries.bias_step`."""
    if rows.is_empty():
        return "No loads were recorded at or before this step."
    at = int(rows["step"][0])
    force = rule_in_force(config_of(run), at, run.balancer)
    if isinstance(force, str):
        return force
    if rows["expert_bias"].null_count():
        return f"No bias was recorded for step {at}."
    return recompute(force, rows["tokens"].to_numpy(), rows["expert_bias"].to_numpy().astype(np.float32))


def logged_biases(rows: pl.DataFrame) -> Floats | None:
    """[N] the biases after the update; None where they were not recorded."""
    return None if rows["logged"].null_count() else rows["logged"].to_numpy().astype(np.float32)


def update_after(ask: Ask, run: Run, layer: int, step: int) -> Update:
    """The update after `step`, and the logged rows around it.

    Raises ConfigError if the step is not recorded, or its update cannot be recomputed.
    """
    rows: pl.DataFrame = ask(queries.bias_step, run, layer, step)
    if rows.is_empty() or int(rows["step"][0]) != step:
        raise ConfigError("step", step, "has no recorded loads in this run", "name a recorded step")
    update = open_step(run, rows)
    if isinstance(update, str):
        raise ConfigError("step", step, update.rstrip("."), "name another step or run")
    return update, rows


def shortfall(update: BiasStep, expert: int) -> Fraction:
    """Tokens that the expert is short of the mean; negative for an overloaded one."""
    return update.mean - int(update.tokens_E[expert])


def expert_of(update: BiasStep, which: str) -> int:
    """The `busiest` or the `idlest` expert, the first of several. Raises ConfigError for another word."""
    one_of("expert", which, ("busiest", "idlest"))
    return int(update.tokens_E.argmax() if which == "busiest" else update.tokens_E.argmin())


def number(update: BiasStep, which: str, quantity: str) -> float:
    """One quantity of the update of the `busiest` or `idlest` expert. Raises ConfigError for another word."""
    expert = expert_of(update, which)
    error = shortfall(update, expert)
    numbers = {
        "expert": expert,
        "tokens": int(update.tokens_E[expert]),
        "mean": float(update.mean),
        "error": float(error),
        "sign": float((error > 0) - (error < 0)),
        "before": float(update.before_E[expert]),
        "after": float(update.after_E[expert]),
        "rate": update.force.rate,
        "moved": _in_rates(update, expert),
    }
    one_of("number", quantity, numbers)
    return numbers[quantity]


def _in_rates(update: BiasStep, expert: int) -> float:
    """How far the bias of an expert moves, in multiples of u."""
    moved = abs(float(update.after_E[expert]) - float(update.before_E[expert]))
    return moved / update.force.rate if update.force.rate else 0.0


def table(update: BiasStep, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per expert: expert, tokens, mean, error, direction, before, after, recorded (NULL if not)."""
    return pl.DataFrame(
        {
            "expert": rows["expert"],
            "tokens": rows["tokens"],
            "mean": [float(update.mean)] * rows.height,
            "error": [float(shortfall(update, expert)) for expert in range(rows.height)],
            "direction": pl.Series(update.direction_E),
            "before": pl.Series(update.before_E),
            "after": pl.Series(update.after_E),
            "recorded": rows["logged"].cast(pl.Float32),
        }
    )


def plain_rate(run: Run) -> float:
    """u. Raises ConfigError unless one plain sign rule with a constant u moves the bias all the time."""
    last = rule_in_force(config_of(run), run.last_step, run.balancer)
    # Any option (centring, decay, memory, freezing, factors) makes it another rule.
    if (
        isinstance(last, str)
        or last.rule != LossFree(bias_update_rate=last.rule.bias_update_rate)
        or last.updates != run.last_step + 1
    ):
        raise ConfigError("balancer", run.balancer, "is not the plain sign rule", "name a loss-free run")
    return last.rule.bias_update_rate


def reproduced_updates(ask: Ask, run: Run) -> tuple[int, int]:
    """How many recorded updates of single experts are equal to the log, and how many can be recomputed."""
    force_at = cache(partial(rule_in_force, config_of(run)))
    equal = total = 0
    for layer in run.layers:
        matrix: Any = ask(load_matrix, run, layer)
        if matrix.bias is None or not np.array_equal(matrix.steps, matrix.last_steps):
            continue
        bias = matrix.bias.astype(np.float32)
        for at in np.flatnonzero(np.diff(matrix.steps) == 1):
            force = force_at(int(matrix.steps[at]))
            if isinstance(force, str) or force.restarts or np.isnan(bias[at : at + 2]).any():
                continue
            same = recompute(force, matrix.tokens[at], bias[at]).equals(bias[at + 1])
            equal += int(same.sum())
            total += same.size
    return equal, total
