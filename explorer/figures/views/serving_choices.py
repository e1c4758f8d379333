"""The settings of the Serving page, whose options follow from the runs that it shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from explorer.figures.arms import Run
from explorer.figures.serving.windows import HELD_OUT, fits
from explorer.figures.views.choice import Choice, Values
from explorer.figures.views.selection import default_run
from explorer.routing.placement import POLICIES

SERVED = ("prefill", "decode", "serving")
"""Phases of a served model."""
MOST_GPUS = 128
USUAL_GPUS = (8, 16, 32, 64, 72, 144, 320)
"""Offered even where they do not divide the experts: whole nodes of eight GPUs, racks of 72, and the 320 on
which DeepSeek-V3 decodes (arXiv 2412.19437, section 3.4)."""
MOST_PER_EXPERT = 1.25
"""GPUs per expert of these, at most."""
"""Options that follow from the run stand here with one example; `Options.of` gives the real ones."""
WINDOWS = Choice(
    key="windows",
    label="Windows of steps",
    options=("2", "3", "4", "6", "8"),
    default="4",
    help="The recorded steps are cut into this many windows of equal length.",
)
PLAN = Choice(
    key="plan",
    label="Plan on window A",
    options=("window",),
    default="",
    help="The placement is computed from its loads. The last window of a run is not offered, since no "
    "later one could judge it.",
)
JUDGE = Choice(
    key="judge",
    label="Judge on window B",
    options=("window",),
    default="",
    help="A later window, on which the modelled time is compared.",
)
HOT = Choice(
    key="hot",
    label="Experts in the hot set",
    options=("1", "2", "4", "8", "16", "32", "64"),
    default="8",
    help="The hot set is this many busiest experts of a layer.",
)
GPUS = Choice(
    key="gpus",
    label="GPUs",
    options=("1",),
    default="",
    help="GPUs that share the experts of a layer (expert parallelism).",
)
NODES = Choice(
    key="nodes", label="Nodes", options=("1",), default="", help="Machines, each with equally many GPUs."
)
COPIES = Choice(
    key="copies",
    label="Extra copies per GPU",
    options=("0", "1", "2", "4"),
    default="1",
    help="Redundant experts: each GPU holds this many copies beyond an equal share of the experts.",
)
PLACEMENT = Choice(
    key="placement",
    label="Placement",
    options=POLICIES,
    default="global",
    help="Global: any GPU may hold any expert. Hierarchical: a group of experts and its copies stay on one "
    "node, as node-limited routing needs it.",
)
GROUPS = Choice(
    key="groups",
    label="Expert groups",
    options=("1",),
    default="8",
    help="Groups of consecutive experts; used by the hierarchical placement.",
)
LEAST = Choice(
    key="least",
    label="Minimum saving",
    options=("1%", "2%", "5%", "10%", "20%"),
    default="5%",
    help="Share of the modelled time that a placement must save to be worth it.",
)
K0 = Choice(
    key="k0",
    label="k0 of OEA",
    options=("1", "2", "3", "4", "6"),
    default="1",
    help="Experts that each token keeps in any case; the rest comes from what the batch has kept.",
)
KEEP = Choice(
    key="keep",
    label="Lynx: experts kept",
    options=("25%", "37.5%", "50%", "62.5%", "75%", "100%"),
    default="50%",
    help="Share of the experts that full routing would load. It stands for the cut-off of Lynx, which is "
    "unpublished.",
)
ALPHA = Choice(
    key="alpha",
    label="Lynx: α",
    options=("0.5", "1", "2", "4", "8"),
    default="2",
    help="Bins per unit of logit difference to the first choice. The published text gives no value.",
)
BETA = Choice(
    key="beta",
    label="Lynx: β",
    options=("1", "2", "4", "8"),
    default="4",
    help="Number of bins below the first choice. The published text gives no value.",
)
COST = Choice(
    key="cost",
    label="Cost ratio a / b",
    options=("0", "0.0025", "0.005", "0.01", "0.02", "0.05", "0.1"),
    default="0.005",
    help="Time to compute one token in one expert (a) over the time to load one expert (b). 0.005: memory "
    "bandwidth over arithmetic rate of an H200 in bf16, 4.8 TB/s over 989 TFLOP/s (NVIDIA's data sheet).",
)
BATCHES = Choice(
    key="batches",
    label="Tokens in a batch",
    options=("unrelated", "consecutive"),
    default="unrelated",
    help="Unrelated: drawn from all texts of the probe, as when decoding. Consecutive: neighbours of one "
    "text, as in prefill.",
)
SPLIT = (WINDOWS, HOT)
WINDOW_PAIR = (PLAN, JUDGE)
LAYOUT = (GPUS, NODES, COPIES, PLACEMENT, GROUPS, LEAST)
SELECTION = (BATCHES, K0, KEEP, ALPHA, BETA, COST)
KEYS_OF_LOADS = tuple(choice.key for choice in (*SPLIT, *WINDOW_PAIR, *LAYOUT))
KEYS = (*KEYS_OF_LOADS, *(choice.key for choice in SELECTION))


def divisors(number: int) -> list[int]:
    """Ascending, 1 and the number included."""
    return [d for d in range(1, number + 1) if number % d == 0]


def gpu_numbers(experts: int) -> list[int]:
    """Numbers of GPUs that can share these experts, ascending."""
    usual = {number for number in USUAL_GPUS if number <= MOST_PER_EXPERT * experts}
    return sorted({d for d in divisors(experts) if 1 < d <= MOST_GPUS} | usual)


def _groups(experts: int, nodes: int) -> list[int]:
    """Numbers of expert groups that can be kept on nodes."""
    return [d for d in divisors(experts) if d % nodes == 0]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What each setting can be for a run and the run that judges."""

    run: Run
    plan_keys: tuple[str, ...]
    """Windows of `run`."""
    judge_keys: tuple[str, ...]
    """Windows of the judging run."""
    is_same_run: bool
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`plan`, `judge` -> key of a window -> what lists call it."""

    @property
    def is_snapshot(self) -> bool:
        """Whether the run has one window of steps, however many are asked for."""
        return sum(key.isdecimal() for key in self.plan_keys) < 2

    def of(self, choice: Choice, values: Values) -> tuple[str, ...]:
        """The options of a setting; see `views.choice.Offer`."""
        experts = self.run.num_experts
        if choice.key == "plan":
            return self._plans()
        if choice.key == "judge":
            return self._judges(str(values["plan"]))
        if choice.key == "gpus":
            return _texts(gpu_numbers(experts)) or ("1",)
        if choice.key == "nodes":
            return _texts(divisors(int(values["gpus"])))
        if choice.key == "placement":
            return choice.options if _groups(experts, int(values["nodes"])) else ("global",)
        if choice.key == "groups":
            return _texts(_groups(experts, int(values["nodes"]))) or ("1",)
        if choice.key == "hot":
            return tuple(n for n in choice.options if int(n) < experts) or ("1",)
        if choice.key == "k0":
            return tuple(k for k in choice.options if int(k) <= self.run.top_k) or ("1",)
        return choice.options

    def _plans(self) -> tuple[str, ...]:
        """All windows but the last, which has none after it to judge."""
        if self.is_same_run and len(self.plan_keys) > 1:
            return self.plan_keys[:-1]
        return self.plan_keys

    def _judges(self, plan: str) -> tuple[str, ...]:
        if not self.is_same_run:
            return self.judge_keys
        later = self.plan_keys[self.plan_keys.index(plan) + 1 :] if plan in self.plan_keys else ()
        return later or self.plan_keys[-1:]

    def choices(self) -> tuple[Choice, ...]:
        """Every setting of loads, in the order of reading, with the defaults for this run."""
        return tuple(self.with_default(choice) for choice in (*SPLIT, *WINDOW_PAIR, *LAYOUT))

    def with_default(self, choice: Choice) -> Choice:
        """The setting with the default for this run."""
        experts = self.run.num_experts
        gpus = default_gpus(experts)
        defaults = {
            "plan": self._default_plan(),
            "judge": self._default_judge(),
            "gpus": str(gpus),
            "nodes": str(default_nodes(gpus)),
            "hot": str(max(1, 2 ** ((experts // 8).bit_length() - 1) if experts >= 8 else 1)),
        }
        default = defaults.get(choice.key, choice.default)
        return replace(choice, default=default, names=self.labels.get(choice.key, choice.names))

    def _default_plan(self) -> str:
        """The last window of steps but one where the same run judges, else the last."""
        steps = [key for key in self._plans() if key.isdecimal()]
        offered = steps or list(self._plans())
        last_judges = self.is_same_run and len(steps) == len([k for k in self.plan_keys if k.isdecimal()])
        return offered[-2] if last_judges and len(offered) > 1 else offered[-1]

    def _default_judge(self) -> str:
        """The last domain of a training run's held-out text, as users might send it; else the last steps."""
        steps = [key for key in self.judge_keys if key.isdecimal()]
        domains = [key for key in self.judge_keys if key.startswith(f"{HELD_OUT} ")]
        if self.is_same_run and domains:
            return domains[-1]
        return steps[-1] if steps else self.judge_keys[-1]


def _texts(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(map(str, numbers))


def default_gpus(experts: int) -> int:
    """The most GPUs, at most 32, with at least four experts on each."""
    usable = [d for d in divisors(experts) if 1 < d <= 32 and experts // d >= 4]
    return usable[-1] if usable else max(d for d in divisors(experts) if d <= MOST_GPUS)


def default_nodes(gpus: int) -> int:
    """The fewest nodes, at least two, with at most eight GPUs each."""
    usable = [d for d in divisors(gpus) if d > 1 and gpus // d <= 8]
    return usable[0] if usable else 1


def usable_runs(runs: Sequence[Run]) -> list[Run]:
    """Runs with loads whose layers have equally many experts, imported traces first."""
    usable = [run for run in runs if run.has_loads and run.experts_per_layer is None and run.num_experts > 1]
    return sorted(usable, key=lambda run: not run.is_imported)


def first_run(runs: Sequence[Run]) -> Run:
    """The newest imported trace of a served model; without one, the first loss-free run, whose held-out
    text has domains. An import that states no phase may be anything, and has none.
    """
    served = (run for run in runs if run.is_imported and run.kind_of_loads.phase in SERVED)
    return next(served, default_run(runs))


def judges_of(run: Run, runs: Sequence[Run]) -> list[Run]:
    """Runs that can judge a placement of `run`: itself first."""
    return [run, *(other for other in runs if other.run_id != run.run_id and fits(run, other))]


def default_judge(run: Run, judges: Sequence[Run]) -> Run:
    """Another trace where the run is a single snapshot, else the run itself."""
    if run.last_step == 0 and len(judges) > 1:
        imported = [other for other in judges[1:] if other.is_imported == run.is_imported]
        return (imported or judges[1:])[0]
    return run
