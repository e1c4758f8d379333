"""The Replay page: one layer of one run at one step."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.figures import biases, domains, expert_order, loads, losses
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run, arms_of, default_arms
from explorer.figures.panel import Question
from explorer.figures.settings import ExpertOrder, OneExpert, OneStep, SortedLayer
from explorer.figures.store import Store
from explorer.figures.views.address import Address
from explorer.figures.views.selection import default_run, picked_first
from explorer.figures.views.view import OpenView, Query

TITLE = "Replay one run"
ALL_EXPERTS = "all"
"""Address value for no selected expert."""
KEYS = ("run", "layer", "step", "expert")
"""Settings that a permalink names."""
HEATMAP = "replay-heatmap"
BESIDE_PLAYER_BINS = 80
"""Points of a line beside the player: enough for its width, few enough to follow the playhead at once."""


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """What the address of the page says, beside its run."""

    layer: int
    step: int
    """Where the playhead stands."""
    expert: int | None = None
    """The selected expert; None: none."""
    sort: str = expert_order.INDEX
    """The order of experts, see `figures.expert_order`."""


@dataclass(frozen=True, kw_only=True)
class ReplayQuestions:
    """What the page asks. Biases and loss follow the player in the browser: they hold no step."""

    heatmap: Question
    """The player's heatmap as a still, for files."""
    loads: Question
    biases: Question
    loss: Question
    domains: Question

    @property
    def all(self) -> tuple[Question, ...]:
        """In the order of the page."""
        return (self.heatmap, self.loads, self.biases, self.loss, self.domains)


def questions(run: Run, settings: ReplaySettings, order: ExpertOrder | None) -> ReplayQuestions:
    """The questions for these settings. order: that of `settings.sort`, None for the order by index."""
    arms, layer = ArmSet.of_runs([run]), settings.layer
    at_step = OneStep(layer=layer, step=settings.step, order=order)
    still = OneStep(layer=layer, step=settings.step)
    trajectories = OneExpert(layer=layer, expert=settings.expert, bins=BESIDE_PLAYER_BINS)
    by_domain = SortedLayer(layer=layer, order=order)
    return ReplayQuestions(
        heatmap=Question(key=HEATMAP, build=loads.heatmap_at, arms=arms, settings=still),
        loads=Question(key="replay_loads", build=loads.bars, arms=arms, settings=at_step),
        biases=Question(
            key="replay_biases", build=biases.trajectories_at_playhead, arms=arms, settings=trajectories
        ),
        loss=Question(key="replay_loss", build=losses.at_playhead, arms=arms),
        domains=Question(key="replay_domains", build=domains.expert_load, arms=arms, settings=by_domain),
    )


def playable(runs: Sequence[Run], picked: Sequence[Arm]) -> list[Run]:
    """Runs with expert loads, those of the run picker first."""
    return picked_first([run for run in runs if run.has_loads], picked)


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """The page for an address: `run`, `layer`, `step`, `expert`, `sort`, and `runs` for the default run."""
    arms = arms_of(runs)
    by_token = {arm.token: arm for arm in arms}
    picked = [by_token[token] for token in query.get("runs") or () if token in by_token]
    picked = picked or default_arms(arms)
    offered = playable(runs, picked)
    if not offered:
        return OpenView(title=TITLE, questions=(), notices=("No run has expert loads to replay.",))
    address = Address(query)
    by_id = {run.run_id: run for run in offered}
    run = by_id[
        address.choice("run", list(by_id), default_run(offered).run_id, "no run of this id has expert loads")
    ]
    settings = _read(address, store, run)
    order = expert_order.order_of(store, run, settings.layer, settings.sort)
    return OpenView(
        title=TITLE,
        questions=questions(run, settings, order).all,
        notices=tuple(address.notices),
        query=_query(run, settings),
        playhead=float(settings.step),
    )


def _read(address: Address, store: Store, run: Run) -> ReplaySettings:
    layer = address.layer(run.layers, "this run")
    width, sorts = run.width(layer), expert_order.sorts_of(store, run)
    experts = [ALL_EXPERTS, *map(str, range(width))]
    expert = address.choice(
        "expert", experts, ALL_EXPERTS, f"the experts of this layer are 0 to {width - 1}, or {ALL_EXPERTS}"
    )
    return ReplaySettings(
        layer=layer,
        step=address.number("step", 0, run.last_step, run.last_step),
        expert=None if expert == ALL_EXPERTS else int(expert),
        sort=address.choice("sort", sorts, expert_order.INDEX, f"it can be {', '.join(sorts)}"),
    )


def _query(run: Run, settings: ReplaySettings) -> dict[str, list[str]]:
    expert = ALL_EXPERTS if settings.expert is None else settings.expert
    values = {"run": run.run_id, "layer": settings.layer, "step": settings.step, "expert": expert}
    return {name: [str(value)] for name, value in {**values, "sort": settings.sort}.items()}
