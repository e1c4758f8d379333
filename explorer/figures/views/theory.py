"""The Theory page's view: one bias rule on frozen tokens, and learning online. It needs no run."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.figures import theory
from explorer.figures.arms import Run
from explorer.figures.panel import Build, Question
from explorer.figures.simulation import RULE_NAMES, without_runs
from explorer.figures.store import Store
from explorer.figures.theory import OneRule, Online
from explorer.figures.views import choice
from explorer.figures.views.address import Address
from explorer.figures.views.choice import (
    MOST_SEED,
    RATES,
    Choice,
    Values,
    experts_per_token,
    skew,
    step_size,
)
from explorer.figures.views.view import OpenView, Query
from explorer.simulate import RuleSettings, ScoreSettings

TITLE = "Theory"
BIAS_RULES = ("sign", "proportional", "rms", "quantile")
RULE = (
    Choice(
        key="rule",
        label="Rule",
        options=BIAS_RULES,
        default="sign",
        names=RULE_NAMES,
        help="How the biases change after every step.",
    ),
    Choice(
        key="u",
        label="Rate u",
        options=RATES,
        default="5e-3",
        help="Size of one update of the biases, in score units.",
    ),
    step_size("dec"),
)
PROBLEM = (
    Choice(
        key="tE",
        label="Experts N",
        options=("4", "8", "16"),
        default="8",
        help="Experts that the tokens are assigned to.",
    ),
    experts_per_token("tK", ("1", "2", "4"), "1"),
    Choice(
        key="tT",
        label="Tokens T",
        options=("64", "128", "256", "512"),
        default="256",
        help="The same tokens in every step.",
    ),
    skew("tskew", ("0", "0.5", "1", "1.5", "2")),
    Choice(
        key="tS",
        label="Steps",
        options=("100", "200", "500", "1000"),
        default="200",
        help="Updates of the biases.",
    ),
)
CHOICES = (*RULE, *PROBLEM)
IN_ORDER = sorted(CHOICES, key=lambda choice: choice.key != "tE")
"""E first: the options of K depend on it."""
SEED = "tseed"
KEYS = (*(choice.key for choice in CHOICES), SEED)


@dataclass(frozen=True, kw_only=True)
class TheorySettings:
    """What the address of the page says."""

    descent: OneRule


def options_of(choice: Choice, values: Values) -> tuple[str, ...]:
    """The options for this value of E: with K = E there would be nothing to decide."""
    if choice.key == "tK":
        return tuple(o for o in choice.options if int(o) < int(values["tE"]))
    return choice.options


def settings_of(values: Values) -> TheorySettings:
    """The settings for the values of all choices and of the seed."""
    scores = ScoreSettings(
        num_experts=int(values["tE"]),
        top_k=int(values["tK"]),
        num_tokens=int(values["tT"]),
        skew=float(values["tskew"]),
        source="frozen",
        seed=int(values[SEED]),
    )
    rule = RuleSettings(rule=values["rule"], rate=float(values["u"]), step_decay=values["dec"])
    return TheorySettings(descent=OneRule(scores=scores, rule=rule, steps=int(values["tS"])))


def questions(settings: TheorySettings) -> dict[str, Question]:
    """Key -> question of every panel, in the order of the page."""
    descent, scores = settings.descent, settings.descent.scores
    panels: tuple[tuple[str, Build, object], ...] = (
        *(
            (key, theory.seats, theory.Scene(descent=descent, is_balanced=is_balanced))
            for key, is_balanced in (("theory_scores_alone", False), ("theory_seats", True))
        ),
        ("theory_dual", theory.dual, descent),
        ("theory_gap", theory.gap, descent),
        ("theory_account", theory.account, descent),
        ("theory_moves", theory.moves, descent),
        ("theory_band", theory.deviation, descent),
        *(
            (f"theory_regret_{log_x}", theory.regret, Online(scores=scores, log_x=log_x))
            for log_x in (False, True)
        ),
        ("theory_ties", theory.tie_density, Online(scores=scores)),
    )
    return without_runs(panels)


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """The panels of this address; neither the store nor a run is asked."""
    address = Address(query)
    values = choice.read(address, IN_ORDER, options_of)
    values[SEED] = str(address.number(SEED, 0, MOST_SEED, 0))
    return OpenView(
        title=TITLE,
        questions=tuple(questions(settings_of(values)).values()),
        notices=tuple(address.notices),
        query={key: [value] for key, value in values.items()},
    )
