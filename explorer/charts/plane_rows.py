"""The rows of the dilemma plane: runs, their means over seeds, and the sweeps that join them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from explorer.charts import theme
from explorer.config.rule_text import AuxLoss, Rule, format_rules, parse_rules
from explorer.errors import ConfigError
from explorer.metrics import t_interval

ZERO_AT = 0.6
"""Where a MaxVio of 0 is drawn on a log axis, as a share of the smallest other one."""
SCOPE_SHAPES = {
    "sequence": "triangle-up",
    "micro_batch": "square",
    "global_batch": "circle",
    "global_buffered": "triangle-down",
    "none": "diamond",
    "unknown": "triangle-left",
    "other": "cross",
}
"""Count scope -> mark."""


def _only_rule(balancer: str) -> Rule | None:
    """The balancing rule of a text form that has exactly one."""
    try:
        rules = [rule for rule in parse_rules(balancer) if rule.family]
    except ConfigError:
        return None
    return rules[0] if len(rules) == 1 and rules[0].strength else None


def coefficient(balancer: str) -> tuple[str, float] | None:
    """("α", 0.01) of an auxiliary loss, ("u", 0.001) of a bias rule; None for anything else."""
    rule = _only_rule(balancer)
    if rule is None or rule.strength is None:
        return None
    symbol, field = rule.strength
    return symbol, float(getattr(rule, field))


def sweep_of(balancer: str) -> str | None:
    """The rule without its coefficient: runs that share it are steps of one sweep."""
    rule = _only_rule(balancer)
    if rule is None or rule.strength is None:
        return None
    settings: dict[str, Any] = {rule.strength[1]: 0.0}
    return format_rules([replace(rule, **settings)])


def _coefficient_text(balancer: str) -> str | None:
    name_and_value, rule = coefficient(balancer), _only_rule(balancer)
    if name_and_value is None:
        return None
    raw = ", raw scores" if isinstance(rule, AuxLoss) and rule.score_norm == "raw" else ""
    return f"{name_and_value[0]} = {name_and_value[1]:g}{raw}"


def runs_of(summary: pl.DataFrame, log_x: bool) -> pl.DataFrame:
    """One row per run that has both metrics; x, y: its place in the plane, max_vio: MaxVio as measured."""
    if summary.is_empty():
        return summary
    usable = pl.all_horizontal(pl.col("perplexity", "max_vio_global").cast(pl.Float64).is_finite())
    runs = summary.filter(usable)
    violation = pl.col("max_vio_global").cast(pl.Float64)
    place = violation
    if log_x:
        # A log axis has no place for 0, which expert choice has by construction: the left edge stands for it.
        least = runs.filter(violation > 0).select(violation.min()).item() if runs.height else None
        if least is None:
            return runs.clear()
        place = pl.when(violation > 0).then(violation).otherwise(least * ZERO_AT)
    coefficients = [coefficient(str(b)) for b in runs["balancer"].to_list()]
    scope = pl.col("count_scope").fill_null("unknown")
    return runs.select(
        "run_id",
        "seed",
        label=pl.col("balancer_label"),
        family=pl.when(pl.col("balancer_family").is_in(list(theme.FAMILIES)))
        .then(pl.col("balancer_family"))
        .otherwise(pl.lit("unknown")),
        scope=scope,
        scope_key=pl.when(scope.is_in(list(SCOPE_SHAPES))).then(scope).otherwise(pl.lit("other")),
        pair_key=pl.col("pair_key").fill_null(""),
        x=place,
        max_vio=violation,
        y=pl.col("perplexity").cast(pl.Float64),
        coefficient=pl.Series([c[1] if c else None for c in coefficients], dtype=pl.Float64),
        coefficient_text=_texts(runs, _coefficient_text),
        sweep=_texts(runs, sweep_of),
    ).with_columns(
        rule=pl.struct("family", "scope").map_elements(
            lambda row: theme.rule_key(row["family"], row["scope"]), return_dtype=pl.String
        ),
        seeds=pl.len().over("label", "pair_key"),
    )


def _texts(runs: pl.DataFrame, describe: Callable[[str], str | None]) -> pl.Series:
    return pl.Series([describe(str(b)) for b in runs["balancer"].to_list()], dtype=pl.String)


def groups_of(runs: pl.DataFrame) -> pl.DataFrame:
    """One row per balancer and configuration: means over seeds and 95 % t intervals."""
    rows: list[dict[str, Any]] = []
    for (label, pair_key), part in runs.group_by("label", "pair_key", maintain_order=True):
        first = part.row(0, named=True)
        row: dict[str, Any] = {
            "label": label,
            "pair_key": pair_key,
            **{
                k: first[k]
                for k in ("family", "rule", "scope", "scope_key", "coefficient", "coefficient_text", "sweep")
            },
            "seeds": part.height,
            "max_vio": part["max_vio"].mean(),
        }
        for axis in ("x", "y"):
            interval = t_interval(part[axis].to_list())
            mean, half = interval if interval else (float(part[axis][0]), None)
            row |= {axis: mean, f"{axis}_half": half}
            row |= {f"{axis}_low": mean - (half or 0.0), f"{axis}_high": mean + (half or 0.0)}
        # An interval that reaches zero has no place on a log axis; it is cut at a tenth of the mean.
        row["x_low"] = max(row["x_low"], row["x"] / 10)
        rows.append(row)
    numbers = ("coefficient", "max_vio", "x", "x_half", "x_low", "x_high", "y", "y_half", "y_low", "y_high")
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def in_sweep(groups: pl.DataFrame) -> pl.DataFrame:
    """Groups whose rule and configuration appear with more than one coefficient."""
    groups_with_coefficient = groups.filter(pl.col("coefficient").is_not_null())
    return groups_with_coefficient.filter(pl.col("coefficient").n_unique().over("sweep", "pair_key") > 1)
