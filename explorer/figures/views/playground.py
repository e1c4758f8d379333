"""The Playground's view: two simulated rules. It needs no run."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.figures import simulation
from explorer.figures.arms import Run
from explorer.figures.panel import Build, Question
from explorer.figures.simulation import SIDES, AtStep, OneSide, Side, TwoRules, without_runs
from explorer.figures.store import Store
from explorer.figures.views import choice, rule_change
from explorer.figures.views.address import Address
from explorer.figures.views.choice import MOST_SEED, Values
from explorer.figures.views.playground_choices import IN_ORDER, options_of, rule_of, scores_of
from explorer.figures.views.view import OpenView, Query

TITLE = "Playground"


@dataclass(frozen=True, kw_only=True)
class PlaygroundSettings:
    """What the address of the page says."""

    rules: TwoRules
    step: int
    """The playhead."""


def settings_of(values: Values) -> PlaygroundSettings:
    """The settings for the values of all choices, of `seed`, `at`, `swA` and `swB`."""
    return PlaygroundSettings(rules=rules_of(values), step=int(values["at"]))


def rules_of(values: Values) -> TwoRules:
    """Both rules for the values of all choices, of `seed`, and of `swA` and `swB` where they are given.

    A change of rule that cannot be read counts as none.
    """
    steps = int(values["S"])
    a, b = (_side(values, side, steps) for side in SIDES)
    return TwoRules(scores=scores_of(values), steps=steps, a=a, b=b)


def _side(values: Values, side: str, steps: int) -> Side:
    change = rule_change.parse(str(values.get(rule_change.KEYS[side]) or ""), steps)
    later = ((change.step, change.settings(int(values["wait"]))),) if change else ()
    return Side(rule=rule_of(values, side), changes=later)


def questions(settings: PlaygroundSettings) -> dict[str, Question]:
    """Key -> question of every panel, in the order of the page."""
    rules = settings.rules
    one = {side: OneSide(rules=rules, side=side) for side in SIDES}
    now = {side: AtStep(rules=rules, side=side, step=settings.step) for side in SIDES}
    panels: tuple[tuple[str, Build, object], ...] = (
        ("playground_max_vio", simulation.max_vio, rules),
        *((f"playground_bias_{side}", simulation.biases, one[side]) for side in SIDES),
        *((f"playground_loads_{side}", simulation.loads, now[side]) for side in SIDES),
        ("playground_switched", simulation.changed_assignments, rules),
    )
    return without_runs(panels)


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """The panels of this address; neither the store nor a run is asked."""
    address = Address(query)
    values = choice.read(address, IN_ORDER, options_of)
    steps = int(values["S"])
    values["seed"] = str(address.number("seed", 0, MOST_SEED, 0))
    values["at"] = str(address.number("at", 0, steps - 1, steps - 1))
    for key in rule_change.KEYS.values():
        values[key] = address.text(
            key, lambda text: rule_change.parse(text, steps) is not None, rule_change.rule_of(steps)
        )
    return OpenView(
        title=TITLE,
        questions=tuple(questions(settings_of(values)).values()),
        notices=tuple(address.notices),
        query={key: [value] for key, value in values.items() if value},
    )
