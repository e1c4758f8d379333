"""The Gallery: figures of the Loss-Free Balancing paper, redrawn from the shipped runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from explorer.charts import captions
from explorer.figures import balance, computation_batches, expert_leak, losses, one_step, quality
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Build, Question
from explorer.figures.store import Store
from explorer.figures.views.view import OpenView, Query
from explorer.queries import comparison

RATES = ("loss_free:bias_update_rate=0.0003", "loss_free", "loss_free:bias_update_rate=0.03")
MAIN = ("aux_loss:scope=sequence", "aux_loss", "loss_free")
EXPERT_CHOICE = ("none", "loss_free", "expert_choice")
FAMILIES = ("none", "aux_loss", "loss_free")
STEP, LAYER = 60, 0
"""The step of Figure 1: early, when loads are unbalanced and biases move."""
NO_RUNS = (
    "The gallery is drawn from the runs that come with the project (data/runs of a full checkout), and there "
    "are none here."
)


@dataclass(frozen=True)
class ShippedRuns:
    """The shipped runs of the main experiment, by balancing rule."""

    every: tuple[Run, ...]
    """All runs of the index."""

    @cached_property
    def runs(self) -> list[Run]:
        """The finished runs with loads of the experiment that has the most of them."""
        shipped = [run for run in self.every if run.shipped and run.state == "finished" and run.has_loads]
        experiments = Counter(run.experiment for run in shipped)
        main = experiments.most_common(1)[0][0] if experiments else None
        return [run for run in shipped if run.experiment == main]

    def find(self, *balancers: str) -> list[Run]:
        """The first seed of each of these, in this order; a rule without a run is left out."""
        first = []
        for balancer in balancers:
            same = [run for run in self.runs if run.balancer == balancer]
            first += sorted(same, key=lambda run: run.seed or 0)[:1]
        return first

    def missing(self, balancers: Sequence[str]) -> tuple[str, ...]:
        """The rules of these without a shipped run."""
        return tuple(name for name in balancers if not self.find(name))

    @property
    def size(self) -> str:
        """Sizes of the models and of the training."""
        first = self.runs[0]
        return f"{first.sizes}, {first.tokens_per_step:,} tokens per step, {first.num_steps:,} steps"


@dataclass(frozen=True, kw_only=True)
class GalleryFigure:
    """One figure of the paper."""

    number: int
    question: Question | None = None
    """None where runs are missing."""
    missing: tuple[str, ...] = ()
    """Balancing rules without a shipped run."""

    @property
    def reason(self) -> str:
        """Why it is not drawn."""
        return f"Not drawn: no shipped run of {', '.join(self.missing)}."


def figures(store: Store, runs: Sequence[Run]) -> dict[int, GalleryFigure]:
    """Number in the paper -> figure, in the order of the page; none without shipped runs."""
    shipped = ShippedRuns(tuple(runs))
    if not shipped.runs:
        return {}
    panels = (
        _rule(shipped),
        _plane(shipped),
        _training(shipped),
        _rates(store, shipped),
        _batches(shipped),
        _leak(shipped),
        _expert_choice(shipped),
    )
    return {figure.number: figure for figure in panels}


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """Every figure that can be drawn; the address says nothing."""
    panels = figures(store, runs)
    notices = tuple(figure.reason for figure in panels.values() if figure.missing)
    questions = tuple(figure.question for figure in panels.values() if figure.question is not None)
    return OpenView(title="Gallery", questions=questions, notices=notices if panels else (NO_RUNS,))


def _figure(number: int, build: Build, arms: ArmSet, settings: object = None) -> GalleryFigure:
    question = Question(key=f"gallery_{number}", build=build, arms=arms, settings=settings)
    return GalleryFigure(number=number, question=question)


def _rule(shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(["loss_free"]):
        return GalleryFigure(number=1, missing=missing)
    (run,) = shipped.find("loss_free")
    step = min(STEP, max(run.last_step - 1, 0))
    settings = one_step.OneUpdate(layer=LAYER, step=step)
    return _figure(1, one_step.rule_at_work, ArmSet.of_runs([run]), settings)


def _plane(shipped: ShippedRuns) -> GalleryFigure:
    runs = [run for run in shipped.runs if run.family in FAMILIES and "score_norm" not in run.balancer]
    return _figure(2, quality.dilemma_plane, ArmSet.of_runs(runs), quality.PlaneSettings())


def _training(shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(MAIN):
        return GalleryFigure(number=3, missing=missing)
    runs = shipped.find(*MAIN)
    subject = "MaxVio of every batch, with its mean over 100 steps"
    return _figure(3, balance.max_vio_of_batches, ArmSet.of_runs(runs), _moving_mean(runs[-1], subject))


def _rates(store: Store, shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(RATES):
        return GalleryFigure(number=4, missing=missing)
    runs = shipped.find(*RATES)
    summary = store.answer(comparison.summary, runs).value
    perplexity = dict(summary.select("run_id", "perplexity").iter_rows())
    labels = {
        run.run_id: f"{run.label.split(' (')[0]} (perplexity {captions.number(perplexity[run.run_id])})"
        for run in runs
    }
    (of,) = shipped.find("loss_free")
    subject = "MaxVio of every batch for three update rates"
    return _figure(4, balance.max_vio_of_batches, ArmSet.of_runs(runs, labels), _moving_mean(of, subject))


def _moving_mean(baselines_of: Run, subject: str) -> balance.MaxVioSettings:
    """MaxVio as the paper draws it, with the random-routing baselines of one run."""
    return balance.MaxVioSettings(
        subject=subject, baselines_of=baselines_of.run_id, mean100=True, marks=False
    )


def _batches(shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(MAIN):
        return GalleryFigure(number=5, missing=missing)
    return _figure(5, computation_batches.up_to_a_step, ArmSet.of_runs(shipped.find(*MAIN)))


def _leak(shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(["loss_free"]):
        return GalleryFigure(number=6, missing=missing)
    runs = ArmSet.of_runs(shipped.find("loss_free"))
    return _figure(6, expert_leak.by_chunk, runs, expert_leak.LeakSettings())


def _expert_choice(shipped: ShippedRuns) -> GalleryFigure:
    if missing := shipped.missing(EXPERT_CHOICE):
        return GalleryFigure(number=9, missing=missing)
    return _figure(9, losses.of_expert_choice, ArmSet.of_runs(shipped.find(*EXPERT_CHOICE)))
