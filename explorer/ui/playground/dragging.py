"""What the Playground's charts show while a slider is dragged: the same simulations, run in the browser."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from explorer import metrics
from explorer.charts import playground as charts
from explorer.charts import theme
from explorer.charts.labels import break_label
from explorer.errors import ConfigError
from explorer.figures import simulation
from explorer.figures.simulation import SIDES, Side, TwoRules
from explorer.figures.views import playground_choices as choices
from explorer.figures.views.playground import rules_of
from explorer.simulate.dynamics import checked_changes
from explorer.ui.components.simulator import Slider, changes, colours, plain_settings, simulator

PLAYHEAD = "at"
CHARTS = {
    "max_vio": "playground-max-vio",
    "bias_A": "playground-bias-a",
    "bias_B": "playground-bias-b",
    "loads_A": "playground-loads-a",
    "loads_B": "playground-loads-b",
    "switched": "playground-switched",
}
"""Chart -> key of its panel."""
SLIDERS = tuple(choice.key for choice in choices.CHOICES if not choice.is_list and choice.key != "S")
"""Sliders that are followed: all but the number of steps, which is the axis of every chart."""


def follow(values: Mapping[str, str], step: int) -> None:
    """Let the charts follow the sliders; nothing happens where the browser does not know the settings."""
    key = tuple(sorted((name, value) for name, value in values.items() if name != PLAYHEAD))
    job, sliders = moves(key)
    if job is None:
        return
    simulator("simulator", job, step=step, sliders={**sliders, PLAYHEAD: Slider(at=step)}, charts=CHARTS)


@lru_cache(maxsize=64)
def moves(values: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any] | None, dict[str, Slider]]:
    """The job for these values, and what the positions of each slider change about it."""
    now = dict(values)
    job = _job(now, now)
    if job is None:
        return None, {}
    sliders = {}
    for key in SLIDERS:
        options = choices.options_of(choices.BY_KEY[key], now)
        others = [_job(now | {key: option}, now) for option in options]
        sliders[key] = Slider(at=options.index(now[key]), options=changes(job, others))
    return job, sliders


def _job(values: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Any] | None:
    """What the worker is to simulate and how its lines are labelled; None where only the server can."""
    try:
        rules = rules_of({**values, PLAYHEAD: "0"})
    except ConfigError:
        # Experts per token beyond the experts: the server chooses another K.
        return None
    scores = plain_settings(rules.scores)
    sides = {side: _side(rules, side) for side in SIDES}
    if scores is None or None in sides.values():
        return None
    return {
        "scores": scores,
        "steps": rules.steps,
        **sides,
        "labels": _labels(rules),
        "inks": [colours(ink) for ink in theme.EXPERT_INKS[:2]],
        "reference": _reference(rules, values, now),
        "heights": {
            "max_vio": simulation.LINES_PX,
            "bias": simulation.BIAS_PX,
            "switched": simulation.CHANGED_PX,
        },
    }


def _side(rules: TwoRules, side: str) -> dict[str, Any] | None:
    own: Side = rules.sides[side]
    rule = plain_settings(own.rule)
    later = [[step, plain_settings(one)] for step, one in checked_changes(own.changes, rules.steps)]
    if rule is None or any(one is None for _, one in later):
        return None
    return {"rule": rule, "changes": later}


def _labels(rules: TwoRules) -> dict[str, dict[str, str]]:
    styles = {style.label: style for style in charts.styles(rules.families)}
    return {
        side: {"text": break_label(label), **colours(styles[side].text)}
        for side, label in rules.labels.items()
    }


def _reference(rules: TwoRules, values: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Any] | None:
    """The random-routing baseline; left out while a slider changes it, since it takes a while."""
    if any(values[key] != now[key] for key in ("N", "K", "T")):
        return None
    scores = rules.scores
    mean, p95 = metrics.uniform_reference(scores.num_experts, scores.top_k, scores.num_tokens)
    if mean <= 0:
        return None
    label = {"text": charts.REFERENCE_LABEL, **colours(theme.NEUTRAL_TEXT)}
    return {"value": mean, "p95": p95, "label": label}
