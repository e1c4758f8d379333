"""The panels that a lesson can name: settings of its file in, questions and the page with the same view out.

A panel raises MissingRun where a run is not here; the lesson goes on without its figure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.course.lessons import Key
from explorer.errors import one_of
from explorer.evidence.results import fingerprint
from explorer.figures import (
    balance,
    bias_updates,
    computation_batches,
    context_length,
    losses,
    named_simulations,
    one_step,
    quality,
    resolution,
    simulation,
)
from explorer.figures import biases as bias_figures
from explorer.figures import domains as domain_figures
from explorer.figures import loads as load_figures
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.differences import FamilyPaired, paired_in_family
from explorer.figures.evidence import EvidenceSettings
from explorer.figures.facts.quality import course_arms
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.panel import Build, Question
from explorer.figures.serving import hot_set, placement, published
from explorer.figures.serving.settings import InWindows, Layout, Placed
from explorer.figures.serving.windows import WindowPair
from explorer.figures.settings import LayerUntil, OverTime
from explorer.figures.views import rule_change
from explorer.figures.views.playground_choices import BY_KEY
from explorer.figures.views.serving_choices import default_gpus, default_nodes

Keys = Mapping[str, Any]
HEIGHT = 340
PLANE_HEIGHT = 440
BIAS_POINTS = 300
"""Points of a bias trajectory, at most."""
MOST_RUNS = 6
"""Runs that an address of Compare names."""


@dataclass(frozen=True, kw_only=True)
class PageLink:
    """The page that shows the same, with its settings there."""

    page: str
    title: str
    query: Mapping[str, Any]
    label: str = ""
    """Text for a page that shows the figure with its own settings; empty if the page takes these over."""

    @property
    def words(self) -> str:
        """Text of the link."""
        return self.label or f"Open in {self.title} with these settings"


@dataclass(frozen=True, kw_only=True)
class LessonFigure:
    """The figure of one step of a lesson."""

    questions: tuple[Question, ...]
    link: PageLink
    load_colours: bool = False
    """Whether the legend of the load colours stands below."""
    update: bias_updates.Update | None = None
    """A bias update whose arithmetic stands below."""


@dataclass(frozen=True, kw_only=True)
class LessonPanel:
    """One entry of the registry."""

    keys: Mapping[str, Key]
    open: Callable[[RecordedRuns, Keys, str], LessonFigure]
    """Takes the keys and a name that no other figure of the page has."""
    words: str
    """What it shows, for docs/lessons.md."""


PANELS: dict[str, LessonPanel] = {}

ARMS = Key(kind="texts", words="balancing rules or routings, as on the command line", needed=True)
ARM = Key(kind="text", words="a balancing rule or routing", needed=True)
SEED = Key(kind="integer", words="one seed; all of them without it")
LAYER = Key(kind="integer", words="MoE layer, from 0", needed=True)
UNTIL = Key(kind="integer", words="the curves end at this step")

SETTINGS = {key: Key(kind="text", words=f"the Playground's control {key}") for key in (*BY_KEY, "seed")}
SIDE = Key(kind="text", words="A or B", needed=True)

Open = Callable[[RecordedRuns, Keys, str], LessonFigure]
BATCHES = PageLink(
    page="gallery",
    title="the Gallery",
    query={},
    label="Figure 5 of the Gallery: three rules, as the paper draws them",
)
"""Compare has no figure of computation batches."""


def panel(name: str, **keys: Key) -> Callable[[Open], None]:
    """Enter a function into the registry; its docstring says what it shows."""

    def enter(function: Open) -> None:
        words = " ".join((function.__doc__ or "").split())
        PANELS[name] = LessonPanel(keys=keys, open=function, words=words)

    return enter


def _one(
    name: str, build: Build, arms: ArmSet, settings: object, link: PageLink, **more: Any
) -> LessonFigure:
    """A figure of a single panel."""
    question = Question(key=name, build=build, arms=arms, settings=settings)
    return LessonFigure(questions=(question,), link=link, **more)


def _compare(arms: Sequence[Arm], **more: Any) -> PageLink:
    return PageLink(page="compare", title="Compare", query={"runs": [arm.token for arm in arms], **more})


def _replay(arm: Arm, layer: int, **more: Any) -> PageLink:
    query = {"run": arm.first.run_id, "layer": layer, **more}
    return PageLink(page="replay", title="Replay", query=query)


@panel("max_vio", arms=ARMS, seed=SEED, until=UNTIL, log=Key(kind="flag", words="logarithmic axis"))
def max_vio(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """MaxVio of every training step, against random routing: one curve per arm, means over seeds."""
    arms = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed")))
    settings = balance.MaxVioSettings(
        log_y=bool(keys.get("log", False)),
        until=keys.get("until"),
        height=HEIGHT,
        marks=False,
        independent_only=True,
    )
    return _one(name, balance.max_vio, arms, settings, _compare(arms.arms))


@panel("perplexity", arms=ARMS, seed=SEED, until=UNTIL)
def perplexity(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Perplexity over training: lines for the training text, points for held-out text."""
    arms = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed")))
    settings = OverTime(until=keys.get("until"), log_y=True, height=HEIGHT, marks=False)
    return _one(name, losses.perplexity, arms, settings, _compare(arms.arms))


@panel("loads", arms=ARMS, layer=LAYER, seed=SEED, until=UNTIL)
def loads(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """The load of every expert of a layer over the steps, one run under the other (seed 0 by itself)."""
    arms = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed", 0)))
    layer = int(keys["layer"])
    settings = LayerUntil(layer=layer, until=keys.get("until"))
    link = _replay(arms.arms[0], layer) if len(arms) == 1 else _compare(arms.arms, layer=layer)
    return _one(name, load_figures.stacked, arms, settings, link, load_colours=True)


@panel("biases", arm=ARM, layer=LAYER, seed=SEED, until=UNTIL)
def biases(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """The bias of every expert of a layer over the steps (seed 0 by itself)."""
    arm, layer = recorded.find(keys["arm"], keys.get("seed", 0)), int(keys["layer"])
    settings = LayerUntil(layer=layer, until=keys.get("until"), bins=BIAS_POINTS)
    return _one(name, bias_figures.trajectories_until, ArmSet.of([arm]), settings, _replay(arm, layer))


@panel("plane", arms=ARMS, seed=SEED)
def plane(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Held-out perplexity against held-out MaxVio, one point per run; strengths of one rule are joined."""
    arms = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed")))
    settings = quality.PlaneSettings(height=PLANE_HEIGHT)
    # Compare adds every shipped run of the same experiment to its plane.
    return _one(name, quality.dilemma_plane, arms, settings, _compare(arms.arms[:MOST_RUNS]))


@panel(
    "differences",
    arms=ARMS,
    base=Key(kind="text", words="the arm that the others are compared with", needed=True),
    figures=Key(kind="texts", words=f"of {', '.join(quality.PAIRED)}", needed=True),
)
def differences(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Differences between arms, seed by seed, with their 95 % t intervals."""
    base, others = recorded.find(keys["base"]), recorded.find_all(keys["arms"])
    arm_set = ArmSet.of([*others, base])
    settings = FamilyPaired(
        base=base.token, metrics=tuple(keys["figures"]), family=tuple(course_arms(recorded))
    )
    return _one(name, paired_in_family, arm_set, settings, _compare(arm_set.arms, base=base.token))


@panel("domains", arms=ARMS, layer=LAYER, seed=SEED)
def domains(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Which expert serves which kind of held-out text, one heatmap per arm (seed 0 by itself)."""
    arms, layer = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed", 0))), int(keys["layer"])
    questions = tuple(
        Question(
            key=f"{name}_{place}",
            build=domain_figures.expert_load_of_arm,
            arms=arms.only([arm]),
            settings=domain_figures.LayerDomains(layer=layer, how=place == len(arms) - 1),
        )
        for place, arm in enumerate(arms)
    )
    return LessonFigure(questions=questions, link=_replay(arms.arms[0], layer), load_colours=True)


@panel("chance", arm=ARM)
def chance(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """MaxVio against the number of tokens counted together, measured (seed 0) and by random routing."""
    arms = ArmSet.of([recorded.find(keys["arm"], 0)])
    return _one(name, computation_batches.up_to_held_out, arms, None, BATCHES)


@panel("batch_sizes", arms=ARMS, seed=SEED)
def batch_sizes(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """MaxVio of groups of sequences against their size, up to a step: one line per arm (seed 0 by itself)."""
    arms = ArmSet.of(recorded.find_all(keys["arms"], keys.get("seed", 0)))
    return _one(name, computation_batches.up_to_a_step, arms, None, BATCHES)


@panel("bias_step", arm=ARM, layer=LAYER, step=Key(kind="integer", words="a recorded step", needed=True))
def bias_step(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """The loads of one step, and the update of the bias that follows, with the recorded integers (seed 0)."""
    arm, layer, step = recorded.find(keys["arm"], 0), int(keys["layer"]), int(keys["step"])
    return _one(
        name,
        one_step.loads_of_step,
        ArmSet.of([arm]),
        one_step.OneUpdate(layer=layer, step=step),
        _replay(arm, layer, step=step),
        update=bias_updates.update_after(recorded.ask, arm.first, layer, step),
    )


@panel(
    "seeds",
    arms=Key(kind="texts", words="the arms whose difference from `base` is looked for", needed=True),
    base=Key(kind="text", words="the arm that they are compared with", needed=True),
    nats=Key(kind="text", words="the difference that one would like to detect", needed=True),
)
def seeds(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """The held-out loss difference that n pairs of seeds detect with a chance of 80 %, against n."""
    base, others = recorded.find(keys["base"]), recorded.find_all(keys["arms"])
    settings = resolution.Resolution(base=base.token, nats=float(keys["nats"]))
    link = _compare([base, *others], base=base.token)
    return _one(name, resolution.seeds_needed, ArmSet.of([*others, base]), settings, link)


WINDOW = Key(
    kind="text", words="a window of Serving: 1 to 4, held-out, or held-out and a domain", needed=True
)


def _serving(query: Mapping[str, Any]) -> PageLink:
    return PageLink(page="serving", title="Serving", query=query)


@panel("served_loads", arm=ARM, layer=LAYER, plan=WINDOW, judge=WINDOW)
def served_loads(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Load of the experts of a layer by window: four quarters of the training and held-out texts (seed 0)."""
    arm, layer = recorded.find(keys["arm"], 0), int(keys["layer"])
    pair = WindowPair(number=4, plan=keys["plan"], judge=keys["judge"])
    hot = max(1, arm.first.num_experts // 8)
    settings = InWindows(pair=pair, layer=layer, hot=hot)
    query = {"run": arm.first.run_id, "layer": layer, "plan": pair.plan, "judge": pair.judge}
    return _one(name, hot_set.by_window, ArmSet.of([arm]), settings, _serving(query), load_colours=True)


@panel("served_verdict", arm=ARM, plan=WINDOW, judge=WINDOW)
def served_verdict(recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """Modelled time with contiguous experts and with EPLB's placement, judged on another window (seed 0)."""
    arm = recorded.find(keys["arm"], 0)
    gpus = default_gpus(arm.first.num_experts)
    layout = Layout(gpus=gpus, nodes=default_nodes(gpus), groups=1, copies=1, policy="global")
    pair = WindowPair(number=4, plan=keys["plan"], judge=keys["judge"])
    query = {"run": arm.first.run_id, "plan": pair.plan, "judge": pair.judge}
    settings = Placed(pair=pair, layout=layout)
    return _one(name, placement.verdict_panel, ArmSet.of([arm]), settings, _serving(query))


@panel("context_length")
def context_by_length(_recorded: RecordedRuns, _keys: Keys, name: str) -> LessonFigure:
    """Excess imbalance of our own models in contexts of up to 8 times the training length (the evidence)."""
    link = PageLink(page="evidence", title="Evidence", query={"claim": "002"})
    settings = EvidenceSettings(claim="002", version=fingerprint())
    return _one(name, context_length.by_length, ArmSet.of(()), settings, link)


@panel("deepseek_r1")
def deepseek_r1(recorded: RecordedRuns, _keys: Keys, name: str) -> LessonFigure:
    """MaxVio of DeepSeek-R1 in serving, by input length: SGLang's files if imported, else their means."""
    runs = published.imported(recorded.runs)
    query = {"run": runs[0].run_id, "judged": runs[-1].run_id} if runs else {}
    return _one(name, published.by_input_length, ArmSet.of_runs(runs), None, _serving(query))


def _settings_of(keys: Keys) -> dict[str, str]:
    return {key: str(value) for key, value in keys.items() if key in SETTINGS}


def _playground(keys: Keys) -> PageLink:
    values = named_simulations.values_of(_settings_of(keys))
    # Empty changes of rules too: those that a visitor has set there before must not stay.
    query = {**values, "at": int(values["S"]) - 1, **dict.fromkeys(rule_change.KEYS.values(), "")}
    return PageLink(page="playground", title="the Playground", query=query)


@panel("simulated_max_vio", **SETTINGS)
def simulated_max_vio(_recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """MaxVio of two simulated rules, as in the Playground."""
    rules = named_simulations.two_rules(_settings_of(keys), still_px=HEIGHT)
    return _one(name, simulation.max_vio, simulation.NO_ARMS, rules, _playground(keys))


@panel("simulated_biases", side=SIDE, **SETTINGS)
def simulated_biases(_recorded: RecordedRuns, keys: Keys, name: str) -> LessonFigure:
    """The biases of one simulated rule, as in the Playground."""
    one_of("side", keys["side"], simulation.SIDES)
    rules = named_simulations.two_rules(_settings_of(keys), still_px=HEIGHT)
    settings = simulation.OneSide(rules=rules, side=keys["side"])
    return _one(name, simulation.biases, simulation.NO_ARMS, settings, _playground(keys))
