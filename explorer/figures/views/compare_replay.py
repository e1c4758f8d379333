"""The counterfactual replay in Compare: the probes of all selected runs under one other rule."""

from collections.abc import Mapping
from dataclasses import dataclass

from explorer.charts.mechanism_words import HOW_TO_PROBE
from explorer.figures import counterfactual, counterfactual_arms
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.counterfactual import Replay
from explorer.figures.panel import Question
from explorer.figures.store import Store, Trace
from explorer.figures.views import choice, counterfactual_choice
from explorer.figures.views.address import Address
from explorer.figures.views.choice import Choice
from explorer.figures.views.view import Query
from explorer.queries.probe import probes as probes_of
from explorer.wording import and_list

PROBE = "probe"
"""The parameter that names the probe, as in the Microscope."""
KEYS = (PROBE, *counterfactual_choice.KEYS)
OF_RUN = {"biases": counterfactual.biases, "loads": counterfactual.loads, "swaps": counterfactual.swaps}
"""Panels of a single run."""


@dataclass(frozen=True, kw_only=True)
class ReplayOffer:
    """What can be replayed in one MoE layer of the selected runs."""

    layer: int
    arms: ArmSet
    """An arm per run: the first of each selected arm that keeps a probe. May be empty."""
    without: tuple[str, ...]
    """Names of the selected arms that keep none."""
    steps: tuple[int, ...] = ()
    """Updates before the probes of any of these runs, ascending."""
    default: int = 0

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.arms.runs

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The settings beside the probe."""
        return counterfactual_choice.choices_of(self.runs, self.layer)

    @property
    def options(self) -> choice.Offer:
        """What each of them can be."""
        return counterfactual_choice.offer_of(self.runs, self.layer)


def offer_of(store: Store, arms: ArmSet, layer: int) -> ReplayOffer:
    """The runs of these arms whose probe can be replayed, and those that keep none."""
    probes: dict[str, list[tuple[int, bool]]] = {}
    for run_id, step, has_bias in Trace(store).ask(probes_of, _with_loads(arms)).rows():
        probes.setdefault(run_id, []).append((step, has_bias))
    labels, runs, without = {}, [], []
    for arm in arms:
        run = next((run for run in arm.runs if run.run_id in probes and layer in run.layers), None)
        if run is None:
            without.append(arms.names[arm.token])
            continue
        runs.append(run)
        labels[run.run_id] = f"{arms.label(arm)}, seed {run.seed}" if arm.is_group else arms.label(arm)
    steps_of = {run.run_id: probes[run.run_id] for run in runs}
    return ReplayOffer(
        layer=layer,
        arms=ArmSet.of_runs(runs, labels),
        without=tuple(without),
        steps=tuple(sorted({step for steps in steps_of.values() for step, _ in steps})),
        default=_default(runs, steps_of),
    )


def _with_loads(arms: ArmSet) -> list[Run]:
    return [run for run in arms.runs if run.has_loads]


def _default(runs: list[Run], probes: Mapping[str, list[tuple[int, bool]]]) -> int:
    """The latest probe of all runs with a bias and steps after it in one of them; else the latest of all."""
    if not runs:
        return 0
    of_all = set.intersection(*({step for step, _ in steps} for steps in probes.values()))
    shared = of_all or {step for step, _ in probes[runs[0].run_id]}
    followed = {
        step
        for run in runs
        for step, has_bias in probes[run.run_id]
        if has_bias and step <= run.last_step and step in shared
    }
    return max(followed or shared)


def no_probe(offer: ReplayOffer) -> str:
    """Which of the selected runs keep no probe of this layer; "" if all do."""
    if not offer.without:
        return ""
    keep = "keeps" if len(offer.without) == 1 else "keep"
    return (
        f"{and_list(offer.without)} {keep} no probe batch of layer {offer.layer}, so no scores can be "
        f"replayed. {HOW_TO_PROBE}"
    )


def read(address: Address, offer: ReplayOffer) -> dict[str, str]:
    """Key -> value of every setting; what does not fit becomes a notice."""
    step = address.choice(PROBE, offer.steps, offer.default, rule_of(offer))
    return {PROBE: str(step), **choice.read(address, offer.choices, offer.options)}


def rule_of(offer: ReplayOffer) -> str:
    """What the probe must be, as the end of a sentence."""
    return f"the runs were probed after {', '.join(map(str, offer.steps))} updates"


def query_of(values: choice.Values, offer: ReplayOffer) -> Query:
    """The part of an address that names what differs from the defaults."""
    changed = dict(counterfactual_choice.query_of(values, offer.choices, offer.options))
    return changed if values[PROBE] == str(offer.default) else {PROBE: (values[PROBE],), **changed}


def questions(offer: ReplayOffer, values: choice.Values) -> dict[str, tuple[Question, ...]]:
    """imbalance (one panel of all runs), and biases, loads and swaps (a panel per run); none without runs."""
    if not offer.runs:
        return {}
    settings = counterfactual_choice.settings_of(values, int(values[PROBE]), offer.layer)
    imbalance = Question(
        key="compare_replay_imbalance",
        build=counterfactual_arms.imbalance,
        arms=offer.arms,
        settings=settings,
    )
    return {"imbalance": (imbalance,), **{name: _per_run(name, offer, settings) for name in OF_RUN}}


def _per_run(name: str, offer: ReplayOffer, settings: Replay) -> tuple[Question, ...]:
    return tuple(
        Question(
            key=f"compare_replay_{name}_{arm.token}",
            build=OF_RUN[name],
            arms=offer.arms.only([arm]),
            settings=settings,
        )
        for arm in offer.arms
    )
