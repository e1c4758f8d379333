"""The Serving page: load by window, hot set, placement with its verdict, batch-aware selection."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Question
from explorer.figures.serving import batch, hot_set, placement
from explorer.figures.serving.settings import Batches, InWindows, Layout, Placed, PlacedLayer
from explorer.figures.serving.windows import WindowPair, labels_of
from explorer.figures.store import Store, Trace
from explorer.figures.views import choice, serving_choices
from explorer.figures.views.address import Address
from explorer.figures.views.choice import Values
from explorer.figures.views.serving_choices import Options
from explorer.figures.views.view import OpenView, Query
from explorer.queries.probe import probes as probes_of
from explorer.routing.batch_selection import LatencyModel, LynxKnobs

TITLE = "Serving"
INTRODUCTION = (
    "Production traffic is rarely an even mix of domains, so experts that were balanced in training become "
    "hot again. This page takes the loads of one window, A, plans where to place the experts and their "
    "copies, and judges that plan on another window, B: later steps, one kind of text, or another trace."
)
NO_RUN = (
    "No run here has expert loads with the same number of experts in every layer. Import a trace or train a "
    "run first."
)
KEYS = ("run", "judged", "layer", "probe", *serving_choices.KEYS)
"""Settings that the address names."""


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """The state of the page, as its address says it."""

    run: Run
    judged: Run
    """The run of window B."""
    loads: Placed
    layer: int
    hot: int
    """Experts in the hot set."""
    batches: Batches | None
    """None where the run keeps no probe batch."""

    @property
    def arms(self) -> ArmSet:
        """The run, and the judging run if it is another one."""
        runs = [self.run] if self.run == self.judged else [self.run, self.judged]
        return ArmSet.of_runs(runs)


def placement_settings(values: Values) -> Placed:
    """The settings of placement for the values of all choices."""
    return Placed(
        pair=WindowPair(number=int(values["windows"]), plan=str(values["plan"]), judge=str(values["judge"])),
        layout=Layout(
            gpus=int(values["gpus"]),
            nodes=int(values["nodes"]),
            groups=int(values["groups"]),
            copies=int(values["copies"]),
            policy="hierarchical" if values["placement"] == "hierarchical" else "global",
        ),
        least=_share(values["least"]),
    )


def _share(text: object) -> float:
    return float(str(text).removesuffix("%")) / 100


def batches(values: Values, layer: int, probe: int) -> Batches:
    """The settings of batch-aware selection for the values of all choices."""
    return Batches(
        probe=probe,
        layer=layer,
        k0=int(values["k0"]),
        knobs=LynxKnobs(alpha=float(values["alpha"]), beta=int(values["beta"]), keep=_share(values["keep"])),
        latency=LatencyModel(per_assignment=float(values["cost"])),
        is_mixed=values["batches"] == "unrelated",
    )


def probe_steps(store: Store, run: Run) -> list[int]:
    """Updates before each probe of a run, ascending."""
    return [int(step) for _, step, _ in Trace(store).ask(probes_of, [run], scored=True).rows()]


def options_of(store: Store, run: Run, judged: Run, windows: int) -> Options:
    """What the settings can be for these runs."""
    plans, judges = (labels_of(store, one, windows) for one in (run, judged))
    return Options(
        run=run,
        plan_keys=tuple(plans),
        judge_keys=tuple(judges),
        is_same_run=run == judged,
        labels={"plan": plans, "judge": judges},
    )


def load_questions(settings: ServingSettings) -> dict[str, Question]:
    """Key -> question of every panel of loads, in the order of the page."""
    loads, arms = settings.loads, settings.arms
    seen = InWindows(pair=loads.pair, layer=settings.layer, hot=settings.hot)
    one_layer = PlacedLayer(pair=loads.pair, layout=loads.layout, layer=settings.layer)
    builds = (
        ("serving_verdict", placement.verdict_panel, loads),
        ("serving_windows", hot_set.by_window, seen),
        ("serving_coverage", hot_set.coverage_curve, seen),
        ("serving_persistence", hot_set.persistence, seen),
        ("serving_popularity", hot_set.popularity, replace(seen, hot=1)),
        ("serving_levels", placement.levels, loads),
        ("serving_contiguous", placement.before, one_layer),
        ("serving_planned", placement.after, one_layer),
    )
    return {key: Question(key=key, build=build, arms=arms, settings=of) for key, build, of in builds}


def batch_questions(run: Run, settings: Batches) -> dict[str, Question]:
    """Key -> question of every panel of batch-aware selection, in the order of the page."""
    arms = ArmSet.of_runs([run])
    return {
        (key := f"serving_{name}"): Question(
            key=key,
            build=batch.by_batch_size,
            arms=arms,
            settings=batch.MeasuredBatches(batches=settings, measure=measure),
        )
        for name, measure in batch.MEASURES.items()
    }


def read(
    store: Store, runs: Sequence[Run], address: Address
) -> tuple[ServingSettings, dict[str, tuple[str, ...]]]:
    """The settings that an address asks for, and the address of them; runs: of `usable_runs`."""
    by_id = {run.run_id: run for run in runs}
    first = serving_choices.first_run(runs)
    run = by_id[address.choice("run", list(by_id), first.run_id, "no run of this id can be shown here")]
    judges = {one.run_id: one for one in serving_choices.judges_of(run, runs)}
    default = serving_choices.default_judge(run, list(judges.values()))
    rule = "that run is not here or has other layers and experts"
    judged = judges[address.choice("judged", list(judges), default.run_id, rule)]
    layer = address.layer(run.layers, "this run")
    windows = serving_choices.WINDOWS
    number = address.choice(
        "windows", windows.options, windows.default, choice.rule_of(windows, windows.options)
    )
    options = options_of(store, run, judged, int(number))
    later = tuple(one for one in options.choices() if one.key != "windows")
    values = {"windows": number, **choice.read(address, later, options.of)}
    values |= choice.read(address, serving_choices.SELECTION, options.of)
    steps = probe_steps(store, run)
    probe = 0
    if steps:
        sentence = f"the run was probed after {', '.join(map(str, steps))} updates"
        probe = address.choice("probe", steps, steps[-1], sentence)
    settings = ServingSettings(
        run=run,
        judged=judged,
        loads=placement_settings(values),
        layer=layer,
        hot=int(values["hot"]),
        batches=batches(values, layer, probe) if steps else None,
    )
    controls = {"run": run.run_id, "judged": judged.run_id, "layer": layer, **values}
    controls |= {"probe": probe} if steps else {}
    return settings, {name: (str(value),) for name, value in controls.items()}


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """See `views.view.Opener`."""
    usable = serving_choices.usable_runs(runs)
    if not usable:
        return OpenView(title=TITLE, questions=(), notices=(NO_RUN,))
    address = Address(query)
    settings, query_values = read(store, usable, address)
    questions = list(load_questions(settings).values())
    if settings.batches is not None:
        questions += batch_questions(settings.run, settings.batches).values()
    return OpenView(
        title=TITLE, questions=tuple(questions), notices=tuple(address.notices), query=query_values
    )
