"""What a visitor can change in a counterfactual replay: rule, rate, K, group limit, scope, number format."""

from collections.abc import Sequence
from dataclasses import replace

from explorer.figures import counterfactual
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.counterfactual import Replay
from explorer.figures.panel import Build, Question
from explorer.figures.simulation import RULE_NAMES
from explorer.figures.views.choice import RATES, Choice, Offer, Values, default_of
from explorer.figures.views.view import Query
from explorer.routing.counterfactual import MOMENTUM, RULES, SHARPNESS, WhatIf
from explorer.routing.precision import BIAS_TYPES

HEADING = "What if: another rule on the recorded scores (open loop)"
TO_OPEN = "Show which experts another rule, K, group limit or number format chooses"
"""The label of the closed section."""
NO_LIMIT = "none"
OWN = "own"
"""K of every run, where runs differ in it."""
RULE = Choice(
    key="what",
    label="Rule",
    options=RULES,
    default="proportional",
    names=RULE_NAMES | {"none": "none: the bias stays"},
    help="Rules that act on a bias. An auxiliary loss acts on the scores, which are fixed here; none keeps "
    f"the bias as it starts. SMEBU has κ = {SHARPNESS:g} and β = {MOMENTUM:g}, both from a secondary source.",
)
RATE = Choice(
    key="what_u",
    label="Rate u",
    options=RATES,
    default="1e-2",
    help="Size of one update in score units; for quantile the share of the way to the exact bias.",
)
UPDATES = Choice(
    key="what_n",
    label="Updates",
    options=("0", "1", "10", "30", "100", "300"),
    default="100",
    help="How often the rule reads the loads of these tokens and moves the bias.",
)
TOP_K = Choice(
    key="what_K",
    label="Experts per token K",
    options=tuple(str(k) for k in range(1, 17)),
    default="2",
    help="Experts that each token is routed to.",
)
GROUPS = Choice(
    key="what_group",
    label="Group limit",
    options=(NO_LIMIT, "1 of 2", "1 of 4", "2 of 4", "2 of 8", "4 of 8"),
    default=NO_LIMIT,
    help="Equal groups of consecutive experts; a token may use its best groups only (DeepSeek-V3).",
)
SCOPE = Choice(
    key="what_scope",
    label="Loads counted over",
    options=("batch", "sequence"),
    default="batch",
    help="All probe tokens, or one sequence per update, each in turn.",
)
TYPE = Choice(
    key="what_type",
    label="Bias stored in",
    options=BIAS_TYPES,
    default="float32",
    help="The bias is rounded to this number format at the start and after every update.",
)
START = Choice(
    key="what_start",
    label="Start from",
    options=("recorded", "neutral"),
    default="recorded",
    help="The bias before the first update: that of the probe, or the one that changes nothing.",
)
CHOICES = (RULE, RATE, UPDATES, TOP_K, GROUPS, SCOPE, TYPE, START)
KEYS = tuple(choice.key for choice in CHOICES)
PROBE_TOKENS = 1024
"""Of a usual probe batch."""
MOST_CELLS = 64 * PROBE_TOKENS * 100
"""Experts times tokens times updates, at most: a second at the worst."""
BUILDS: dict[str, Build] = {
    "imbalance": counterfactual.imbalance,
    "biases": counterfactual.biases,
    "loads": counterfactual.loads,
    "swaps": counterfactual.swaps,
}


def choices_of(runs: Sequence[Run], layer: int) -> tuple[Choice, ...]:
    """The settings for one layer of these runs, which all have it.

    K starts at the runs' own; many experts, or many runs, allow fewer updates.
    """
    widths, own = [run.width(layer) for run in runs], {run.top_k for run in runs}
    steps = [o for o in UPDATES.options if sum(widths) * PROBE_TOKENS * int(o) <= MOST_CELLS]
    counts = {str(k) for k in own} | {o for o in TOP_K.options if int(o) <= min(widths)}
    options = tuple(sorted((o for o in counts if int(o) <= min(widths)), key=int))
    top_k = replace(TOP_K, options=options, default=str(min(own)))
    if len(own) > 1:
        top_k = replace(TOP_K, options=(OWN, *options), default=OWN, names={OWN: "each run's own"})
    changed = {
        UPDATES.key: replace(UPDATES, options=tuple(steps), default=default_of(UPDATES, steps)),
        TOP_K.key: top_k,
    }
    return tuple(changed.get(choice.key, choice) for choice in CHOICES)


def offer_of(runs: Sequence[Run], layer: int) -> Offer:
    """The options of each setting: a group limit must leave K experts."""
    widths, most = {run.width(layer) for run in runs}, max(run.top_k for run in runs)

    def offer(choice: Choice, values: Values) -> tuple[str, ...]:
        if choice.key == GROUPS.key:
            top_k = most if values[TOP_K.key] == OWN else int(values[TOP_K.key])
            return tuple(o for o in choice.options if all(_fits(o, experts, top_k) for experts in widths))
        return choice.options

    return offer


def _groups(option: str) -> tuple[int, int]:
    """(groups, groups that a token may use)."""
    if option == NO_LIMIT:
        return 1, 1
    best, groups = option.split(" of ")
    return int(groups), int(best)


def _fits(option: str, experts: int, top_k: int) -> bool:
    groups, best = _groups(option)
    return experts % groups == 0 and experts // groups * best >= top_k


def settings_of(values: Values, step: int, layer: int) -> Replay:
    """The replay that these values stand for."""
    groups, best = _groups(values[GROUPS.key])
    return Replay(
        step=step,
        layer=layer,
        what_if=WhatIf(
            rule=values[RULE.key],
            rate=float(values[RATE.key]),
            updates=int(values[UPDATES.key]),
            scope="sequence" if values[SCOPE.key] == "sequence" else "batch",
            bias_type=values[TYPE.key],
        ),
        top_k=None if values[TOP_K.key] == OWN else int(values[TOP_K.key]),
        num_groups=groups,
        top_k_groups=best,
        start="neutral" if values[START.key] == "neutral" else "recorded",
    )


def query_of(values: Values, choices: Sequence[Choice], offer: Offer) -> Query:
    """The part of an address that names what differs from the defaults."""
    return {
        choice.key: (values[choice.key],)
        for choice in choices
        if values[choice.key] != default_of(choice, offer(choice, values))
    }


def questions(run: Run, settings: Replay) -> dict[str, Question]:
    """The panels of a replay: imbalance, biases, loads, swaps."""
    arms = ArmSet.of_runs([run])
    return {
        name: Question(key=f"microscope_replay_{name}", build=build, arms=arms, settings=settings)
        for name, build in BUILDS.items()
    }
