"""What the Theory page's charts show while the rate is dragged: the same descent, run in the browser."""

from collections.abc import Mapping
from typing import Any

from explorer.charts import theme
from explorer.charts import theory as charts
from explorer.figures.theory import OneRule
from explorer.figures.theory_text import VERDICT_WORDS
from explorer.figures.views import theory as view_of
from explorer.ui.components.simulator import Slider, changes, colours, plain_settings, simulator

CHARTS = {
    "seats": "theory-seats",
    "dual": "theory-dual",
    "gap": "theory-gap",
    "account": "theory-account",
    "moves": "theory-moves",
    "band": "theory-band",
}
"""Chart -> key of its panel."""
SLIDERS = ("u", "tS")
"""Sliders that are followed; the others change the problem, whose optimum only the server computes."""


def follow(values: Mapping[str, str]) -> None:
    """Let the charts follow the sliders; nothing happens where the browser does not know the rule."""
    now = view_of.settings_of(values).descent
    job = job_of(values)
    if job is None:
        return
    sliders = {}
    for key in SLIDERS:
        options = next(choice.options for choice in view_of.CHOICES if choice.key == key)
        others = [_job(view_of.settings_of({**values, key: option}).descent, now) for option in options]
        sliders[key] = Slider(at=options.index(values[key]), options=changes(job, others))
    simulator("simulator", job, step=0, sliders=sliders, charts=CHARTS)


def job_of(values: Mapping[str, str]) -> dict[str, Any] | None:
    """The job for these values; None where only the server can."""
    now = view_of.settings_of(values).descent
    return _job(now, now)


def _job(descent: OneRule, now: OneRule) -> dict[str, Any] | None:
    """What the worker is to compute, with labels and colours; `now` has the optimum of the same problem."""
    scores, rule = plain_settings(descent.scores), plain_settings(descent.rule)
    if scores is None or rule is None:
        return None
    return {
        "kind": "descent",
        "scores": scores,
        "rule": rule,
        "steps": descent.steps,
        "optimum": now.optimum().value,
        "labels": {
            "dual": {"text": charts.DUAL_LABEL, **colours(charts.TEXT)},
            "optimum": {"text": charts.OPTIMUM_LABEL, **colours(theme.NEUTRAL_TEXT)},
            **{
                part: {"text": charts.PART_WORDS[part], **colours(text)}
                for part, (_, text, _) in charts.PARTS.items()
            },
        },
        "verdicts": VERDICT_WORDS,
        "heights": {"dual": charts.DUAL_PX, "account": charts.ACCOUNT_PX},
    }
