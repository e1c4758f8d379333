"""Which rule leads, judged only over seeds that the compared rules share.

A mean of five seeds against a single run of another rule ranks seeds, not rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from explorer.charts.captions import NOTHING, number
from explorer.metrics import is_resolved, t_interval

FIGURES = {"perplexity": "perplexity", "max_vio_global": "MaxVio"}
Rule = dict[int, Mapping[str, Any]]
"""Seed -> its row of figures."""


def dilemma_plane(summary: pl.DataFrame) -> str:
    """Which of the rules with seeds in common has the lowest perplexity and MaxVio, with paired intervals.

    summary: columns of `queries.comparison.summary`. Rules with fewer than two seeds in common are counted
    and not ranked.
    """
    if summary.is_empty():
        return NOTHING
    figures = pl.all_horizontal(pl.col(*FIGURES).cast(pl.Float64).is_finite())
    usable = summary.filter(figures)
    if usable.is_empty():
        return "No run has a held-out evaluation yet."
    rules = _rules(usable)
    ranked, seeds = _comparable(rules)
    if len(ranked) < 2:
        return _spans(usable, len(rules))
    seed_list = ", ".join(map(str, seeds))
    parts = [_lowest(ranked, seeds, figure) for figure in FIGURES]
    text = f"Over the seeds that {len(ranked)} rules share ({seed_list}): {'; '.join(parts)}."
    single = len(rules) - len(ranked)
    if single:
        others = "1 other rule has" if single == 1 else f"{single} other rules have"
        text += f" {others} too few of these seeds to be ranked."
    return text


def _rules(usable: pl.DataFrame) -> dict[tuple[str, str], Rule]:
    """(label, pair key) -> its seeds; of two runs of one seed the first row counts, the newest run."""
    rules: dict[tuple[str, str], Rule] = {}
    for row in usable.to_dicts():
        rule = rules.setdefault((row["balancer_label"], row["pair_key"]), {})
        if row["seed"] is not None:
            rule.setdefault(int(row["seed"]), row)
    return rules


def _comparable(rules: Mapping[tuple[str, str], Rule]) -> tuple[list[tuple[str, Rule]], list[int]]:
    """The largest set of rules of one pair key that share at least two seeds, and the shared seeds.

    Of the sets made of a rule's own seeds, that with the most runs: 4 rules over 5 seeds before 5 over 2.
    """
    best: tuple[list[tuple[str, Rule]], list[int]] = ([], [])
    for (_, key), start in rules.items():
        seeds = set(start)
        same = [
            (label, rule) for (label, other), rule in rules.items() if other == key and seeds <= set(rule)
        ]
        if len(seeds) > 1 and len(same) > 1 and len(seeds) * len(same) > len(best[0]) * len(best[1]):
            best = (same, sorted(seeds))
    return best


def _lowest(ranked: Sequence[tuple[str, Rule]], seeds: Sequence[int], figure: str) -> str:
    """The lowest mean, and its paired difference to the next one."""

    def mean(rule: Rule) -> float:
        return sum(float(rule[seed][figure]) for seed in seeds) / len(seeds)

    (first, lowest), (second, following) = sorted(ranked, key=lambda entry: mean(entry[1]))[:2]
    interval = t_interval([float(lowest[seed][figure]) - float(following[seed][figure]) for seed in seeds])
    difference, half = interval or (mean(lowest) - mean(following), float("nan"))
    apart = f"{number(abs(difference))} ± {number(half)}"
    name = FIGURES[figure]
    if is_resolved(interval):
        return f"{first} has the lowest {name} ({number(mean(lowest))}, {apart} below {second})"
    return (
        f"the lead in {name} is not significant ({number(mean(lowest))} with {first}, "
        f"{number(mean(following))} with {second}, {apart} apart)"
    )


def _spans(usable: pl.DataFrame, rules: int) -> str:
    """The ranges of both metrics, without a ranking."""
    parts = []
    for figure, name in FIGURES.items():
        low, high = (number(float(value)) for value in (usable[figure].min(), usable[figure].max()))  # type: ignore[arg-type]
        parts.append(f"{name} {low}" if low == high else f"{name} from {low} to {high}")
    counted = "1 rule" if rules == 1 else f"{rules} rules"
    text = f"{counted}: {' and '.join(parts)}."
    return text if rules == 1 else f"{text} No two of them share two seeds, so they are not ranked."
