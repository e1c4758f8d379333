"""Compare: the same questions about every selected arm."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.figures import balance, biases, loads, losses, mechanism, quality
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Build, Question
from explorer.figures.settings import Axis, EventMarks, LossOverTime, OneLayer, OverTime
from explorer.figures.store import Store, Trace
from explorer.figures.views import agreement_choice, compare_replay
from explorer.figures.views.address import Address
from explorer.figures.views.agreement_choice import Offer, Values
from explorer.figures.views.selection import RUNS, selected_arms
from explorer.figures.views.view import OpenView, Query
from explorer.queries.probe import probes as probes_of

TITLE = "Compare"
BINS = 150
"""Columns of a heatmap, or points of a bias trajectory: several stand under each other."""
AXES: tuple[Axis, ...] = ("step", "tokens", "time")
PARTS = ("end", "whole")
"""Of the training, in the chart of perplexity: its last quarter, or all of it."""
KEYS = ("layer", "x", "events", "part", "log", "base")
"""Settings that the address names."""
NO_PROBE = (
    "None of these runs keeps a probe batch, so no two routings of the same tokens can be compared. Of the "
    "shipped runs, seed 0 of the four main rules has one."
)
METRICS = ("perplexity", "max_vio_global")
"""Paired differences that the page opens with; names in `quality.PAIRED`."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What the address of the page says beside its runs."""

    layer: int = 0
    """MoE layer of the heatmaps and the bias trajectories."""
    x: Axis = "step"
    """Horizontal axis of the curves over training."""
    events: bool = False
    """Whether the charts over training steps mark events."""
    part: str = "end"
    """One of `PARTS`: the differences that a reader looks for lie at the end."""
    log: bool = True
    """Whether perplexity has a logarithmic axis where the whole training is drawn."""
    base: str = ""
    """Token of the arm that the others are compared with; see `default_base`."""
    metrics: tuple[str, ...] = METRICS
    """Paired differences, names in `quality.PAIRED`. No part of the address."""


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """The questions of the page for this address, in the order of the page; none without runs."""
    address = Address(query)
    arms = selected_arms(runs, address)
    if not len(arms):
        return OpenView(title=TITLE, questions=(), notices=tuple(address.notices))
    settings = read(address, arms)
    panels, query = questions(arms, runs, settings), dict(query_of(arms, settings))
    offer = agreement_offer(store, arms)
    if offer is not None:
        values = agreement_choice.read(address, offer)
        panels += tuple(agreement_questions(offer, values, settings.layer).values())
        query |= agreement_choice.query_of(values, offer)
    replays = compare_replay.offer_of(store, arms, settings.layer)
    if replays.runs:
        what_if = compare_replay.read(address, replays)
        for same_kind in compare_replay.questions(replays, what_if).values():
            panels += same_kind
        query |= compare_replay.query_of(what_if, replays)
    return OpenView(title=TITLE, questions=panels, notices=tuple(address.notices), query=query)


def agreement_offer(store: Store, arms: ArmSet) -> Offer | None:
    """The routings that these arms let a visitor compare; None where no run keeps a probe."""
    rows = Trace(store).ask(probes_of, [run for run in arms.runs if run.has_loads]).rows()
    probes: dict[str, list[int]] = {}
    for run_id, step, _ in rows:
        probes.setdefault(run_id, []).append(step)
    if not probes:
        return None
    return Offer(
        runs=tuple(run for run in arms.runs if run.run_id in probes),
        probes=probes,
        biased=frozenset(run_id for run_id, _, has_bias in rows if has_bias),
    )


def agreement_questions(offer: Offer, values: Values, layer: int) -> dict[str, Question]:
    """The panels on two routings of the same tokens."""
    return agreement_choice.questions("compare", offer, values, layer)


def read(address: Address, arms: ArmSet) -> CompareSettings:
    """The settings of an address; what does not fit these arms becomes a notice."""
    layers, tokens = layers_of(arms), [arm.token for arm in arms]
    return CompareSettings(
        layer=address.layer(layers, "these runs") if layers else 0,
        x=address.choice("x", AXES, "step", "it can be step, tokens or time"),
        events=address.flag("events", False),
        part=address.choice("part", PARTS, default_part(address.query), "it can be end or whole"),
        log=address.flag("log", True),
        base=address.choice("base", tokens, default_base(arms), "it is not among the selected runs"),
    )


def query_of(arms: ArmSet, settings: CompareSettings) -> Query:
    """The address of this view."""
    query: dict[str, list[str]] = {
        RUNS: [arm.token for arm in arms],
        "x": [settings.x],
        "part": [settings.part],
        "log": [str(settings.log).lower()],
    }
    if settings.events:
        query["events"] = ["true"]
    if layers_of(arms):
        query["layer"] = [str(settings.layer)]
    if len(arms) > 1:
        query["base"] = [settings.base]
    return query


def layers_of(arms: ArmSet) -> list[int]:
    """The numbers of the MoE layers that any of these arms has, ascending."""
    return sorted({layer for arm in arms.with_loads() for layer in arm.first.layers})


def default_part(query: Query) -> str:
    """The last quarter; the whole for an address that names the axis, as those of earlier versions do."""
    return "whole" if "log" in query else "end"


def default_base(arms: ArmSet) -> str:
    """Token of the arm without balancing, or of the first arm."""
    return next((arm for arm in arms if arm.family == "none"), arms.arms[0]).token


def questions(arms: ArmSet, runs: Sequence[Run], settings: CompareSettings) -> tuple[Question, ...]:
    """Every question of the page; runs: all that the index knows."""
    paired_differences = (paired(arms, settings),) if len(arms) > 1 else ()
    return (
        *heatmaps(arms, settings),
        *trajectories(arms, settings),
        max_vio(arms, settings),
        perplexity(arms, settings),
        *paired_differences,
        plane(arms, runs),
        *mechanisms(arms, settings).values(),
    )


def heatmaps(arms: ArmSet, settings: CompareSettings) -> tuple[Question, ...]:
    """Expert load of one layer, a heatmap per arm that has it."""
    return _per_arm("compare_loads", loads.heatmap, arms.with_layer(settings.layer), at_layer(settings))


def trajectories(arms: ArmSet, settings: CompareSettings) -> tuple[Question, ...]:
    """Bias trajectories of one layer, a chart per arm that has it; one without a bias rule has none."""
    return _per_arm("compare_bias", biases.trajectories, arms.with_layer(settings.layer), at_layer(settings))


def at_layer(settings: CompareSettings) -> OneLayer:
    """The settings of the figures of one layer."""
    return OneLayer(layer=settings.layer, bins=BINS)


def _per_arm(name: str, build: Build, arms: ArmSet, settings: OneLayer) -> tuple[Question, ...]:
    """The same question about each arm, under the labels of the whole view."""
    return tuple(
        Question(key=f"{name}_{arm.token}", build=build, arms=arms.only([arm]), settings=settings)
        for arm in arms
    )


def max_vio(arms: ArmSet, settings: CompareSettings) -> Question:
    """MaxVio over training."""
    over_time = OverTime(x=settings.x, marks=settings.events)
    return Question(key="compare_max_vio", build=balance.max_vio, arms=arms, settings=over_time)


def perplexity(arms: ArmSet, settings: CompareSettings) -> Question:
    """Perplexity over training."""
    whole = settings.part == "whole"
    over_time = LossOverTime(
        x=settings.x, log_y=settings.log and whole, is_end_only=not whole, marks=settings.events
    )
    return Question(key="compare_loss", build=losses.perplexity, arms=arms, settings=over_time)


def mechanisms(arms: ArmSet, settings: CompareSettings) -> dict[str, Question]:
    """How the rules act on the routers: norms, cosine, margin, switched, churn."""
    builds: dict[str, Build] = {
        "norms": mechanism.gradient_norms,
        "cosine": mechanism.gradient_cosines,
        "margin": mechanism.score_margins,
        "switched": mechanism.bias_switches,
        "churn": mechanism.churn,
    }
    marks = EventMarks(marks=settings.events)
    return {
        name: Question(key=f"mechanism_{name}", build=build, arms=arms, settings=marks)
        for name, build in builds.items()
    }


def plane(arms: ArmSet, runs: Sequence[Run]) -> Question:
    """Perplexity against MaxVio: the selected runs and the shipped ones of the same experiments."""
    experiments = {run.experiment for run in arms.runs}
    shipped = [
        run
        for run in runs
        if run.shipped and run.state == "finished" and run.is_readable and run.experiment in experiments
    ]
    return Question(
        key="compare_plane",
        build=quality.dilemma_plane,
        arms=ArmSet.of_runs(dict.fromkeys([*arms.runs, *shipped])),
        settings=quality.PlaneSettings(with_shipped=True),
    )


def paired(arms: ArmSet, settings: CompareSettings) -> Question:
    """Paired differences of the other arms from the base."""
    return Question(
        key="compare_paired",
        build=quality.paired,
        arms=arms,
        settings=quality.Paired(base=settings.base, metrics=settings.metrics),
    )
