"""Routing without a language model: two balancing rules, A and B, on the same simulated scores.

A simulation asks no store and has no arms: its panels depend on their settings alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts import captions, dragged, switches
from explorer.charts import loads as load_charts
from explorer.charts import playground as charts
from explorer.charts import spec as specs
from explorer.charts.theme import AXIS
from explorer.config.rules import Smebu
from explorer.figures import simulation_text as text
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Build, Panel, Question
from explorer.figures.simulation_frames import extremes, loads_frame, series_frame, trajectory_frame
from explorer.figures.store import Store
from explorer.figures.templates import with_rows
from explorer.simulate import RuleSettings, ScoreSettings, Simulation, simulate
from explorer.simulate.summary import random_reference
from explorer.wording import decimal

HELD_OUT = 16_384
"""Held-out tokens that are counted after the last step."""
SIDES = ("A", "B")
RULE_NAMES = {
    "none": "no balancing",
    "sign": "sign",
    "proportional": "proportional",
    "rms": "RMS-normalised",
    "smebu": "SMEBU",
    "quantile": "quantile",
    "aux_loss": "auxiliary loss",
}
STEP_SIZES = {"constant": "u", "sqrt": "u/√n", "harmonic": "u/n"}
RATE_SYMBOLS = {"quantile": "ρ", "aux_loss": "αη"}
"""The rate of a rule where it is no bias update rate u: a share, or a strength times a learning rate."""
FAMILY_OF = {"none": "none", "smebu": "smebu", "quantile": "quantile", "aux_loss": "aux_loss"}
"""Families, which decide the colours, of the rules that are not loss-free."""
NO_ARMS = ArmSet.of(())
MAX_VIO_HOW = (
    "0 is a perfectly even load. The dotted line is the random-routing baseline for this many tokens; the "
    "strip extends to its 95th percentile. The band spans the lowest to the highest step of each bin."
)
BIAS_HOW = "One line per expert. Bold: the experts with the highest and the lowest final bias."
LOADS_HOW = "The dashed line at 1 marks the uniform load. Both panels share one vertical axis."
CHANGED_HOW = "The share of assignments that differ from the top K of the scores without the bias."
LINES_PX, BIAS_PX, CHANGED_PX = 280, 260, 200
"""Heights of the plots."""
IN_A_LESSON = "A simulation without a language model. "
CHANGED_AXIS = "share of assignments"
LOGITS_AXIS = "learned offset (logits)"


def without_runs(panels: Iterable[tuple[str, Build, object]]) -> dict[str, Question]:
    """Key -> question of panels that need no run. panels: key, function and settings of each."""
    return {
        key: Question(key=key, build=build, arms=NO_ARMS, settings=settings)
        for key, build, settings in panels
    }


@dataclass(frozen=True, kw_only=True)
class Side:
    """One balancing rule, and the rules that replace it later."""

    rule: RuleSettings
    changes: tuple[tuple[int, RuleSettings], ...] = ()
    """(first step, rule), in the order of steps."""

    @property
    def label(self) -> str:
        """`no balancing, from 400 sign u=0.001`."""
        return ", ".join(
            [rule_label(self.rule), *(f"from {step} {rule_label(rule)}" for step, rule in self.changes)]
        )

    @property
    def family(self) -> str:
        """The family of the rule, which decides its colour."""
        return "scheduled" if self.changes else FAMILY_OF.get(self.rule.rule, "loss_free")


@dataclass(frozen=True, kw_only=True)
class TwoRules:
    """Two rules on one distribution of scores."""

    scores: ScoreSettings
    steps: int
    a: Side
    b: Side
    still_px: int | None = None
    """Height in pixels of a chart that stands alone, without a playhead and without the letters A and B.
    None: the height of the Playground, with both."""

    @property
    def sides(self) -> dict[str, Side]:
        """The rules by their letter."""
        return {"A": self.a, "B": self.b}

    @property
    def labels(self) -> dict[str, str]:
        """Letter -> legend label."""
        with_letter = self.still_px is None
        return {
            side: f"{side}: {rules.label}" if with_letter else rules.label
            for side, rules in self.sides.items()
        }

    @property
    def families(self) -> dict[str, str]:
        """Letter -> family, for colours."""
        return {side: rules.family for side, rules in self.sides.items()}

    @property
    def playhead(self) -> float | None:
        """A place to build the playhead at; None where the chart has none."""
        return specs.SOMEWHERE if self.still_px is None else None

    def simulations(self) -> dict[str, Simulation]:
        """Letter -> simulation."""
        return {
            side: simulated(self.scores, rules.rule, self.steps, rules.changes)
            for side, rules in self.sides.items()
        }


@dataclass(frozen=True, kw_only=True)
class OneSide:
    """A chart of rule A or B beside that of the other rule."""

    rules: TwoRules
    side: str


@dataclass(frozen=True, kw_only=True)
class AtStep:
    """A chart of one step of rule A or B."""

    rules: TwoRules
    side: str
    step: int


@lru_cache(maxsize=24)
def simulated(
    scores: ScoreSettings, rule: RuleSettings, steps: int, changes: tuple[tuple[int, RuleSettings], ...] = ()
) -> Simulation:
    """One simulation. It is kept, so that B need not run again when only A changes."""
    return simulate(
        scores, rule, steps=steps, held_out_steps=(steps,), held_out_tokens=HELD_OUT, changes=changes
    )


def rule_label(rule: RuleSettings) -> str:
    """A short name: `sign u=0.001`, `proportional u=0.3/√n`, `SMEBU u=0.003 κ=5`."""
    name = RULE_NAMES[rule.rule]
    if rule.rule == "none":
        return name
    symbol = RATE_SYMBOLS.get(rule.rule, "u")
    parts = [f"{name} {symbol}={decimal(rule.rate)}{STEP_SIZES[rule.step_decay].removeprefix('u')}"]
    if rule.rule == "smebu":
        parts += Smebu(sharpness=rule.sharpness, momentum=rule.momentum).departures()
    return " ".join(parts)


def max_vio(store: Store, arms: ArmSet, settings: TwoRules) -> Panel:
    """MaxVio per step under both rules, with the random-routing baseline."""
    pair = settings.simulations()
    table = series_frame({side: simulation.max_vio for side, simulation in pair.items()})
    height = settings.still_px or LINES_PX
    spec = _lines(
        "max_vio",
        settings,
        table,
        reference=random_reference(pair["A"]),
        y_title=AXIS["max_vio"],
        height=height,
    )
    return Panel(
        subject="MaxVio of two simulated rules",
        finding=text.balance(pair, settings.labels),
        how=_how(settings, MAX_VIO_HOW),
        spec=spec,
        on_page=_on_page(spec, "max_vio", settings),
        table=table,
    )


def biases(store: Store, arms: ArmSet, settings: OneSide) -> Panel:
    """Bias trajectories of one rule; for an auxiliary loss the offsets that it has taught the router."""
    rules, side = settings.rules, settings.side
    pair = rules.simulations()
    simulation = pair[side]
    is_still = rules.still_px is not None
    is_learned = not is_still and _learns_offsets(simulation)
    values = simulation.learnt if is_learned else simulation.bias
    limits = _limits([values] if is_learned or is_still else [one.bias for one in pair.values()])
    height = rules.still_px or BIAS_PX
    table = trajectory_frame(values)
    changes = _only(side, _changes(rules))
    rows = (
        *charts.trajectory_rows(table, named=extremes(values), limits=limits, height=height),
        changes,
    )
    build = partial(
        charts.trajectories,
        rows,
        y_title=LOGITS_AXIS if is_learned else AXIS["expert_bias"],
        playhead=rules.playhead,
        height=height,
    )
    spec = with_rows(("simulated biases", is_learned, changes.is_empty(), rules.still_px), rows, build)
    shared = "" if is_still else " Both panels share one vertical axis for biases."
    return Panel(
        subject=f"Bias trajectories of {rules.labels[side]}",
        finding=text.bias(simulation),
        how=_how(rules, BIAS_HOW + shared),
        spec=spec,
        on_page=_on_page(spec, f"bias_{side}", rules),
        table=table,
    )


def loads(store: Store, arms: ArmSet, settings: AtStep) -> Panel:
    """Expert loads of one rule at one step."""
    pair, step = settings.rules.simulations(), settings.step
    top = max(float(s.counts[step].max() / s.scores.mean_load) for s in pair.values())
    now = loads_frame(pair[settings.side], step)
    rows = (load_charts.bar_rows(now), charts.bar_limit(top))
    spec = with_rows(("simulated loads", len(now)), rows, partial(charts.bars, now, top))
    return Panel(
        subject=f"Expert load of {settings.rules.labels[settings.side]} at the playhead",
        finding=captions.load_bars(now),
        how=LOADS_HOW,
        spec=spec,
        on_page=_on_page(spec, f"loads_{settings.side}", settings.rules),
        table=now,
    )


def changed_assignments(store: Store, arms: ArmSet, settings: TwoRules) -> Panel:
    """Share of assignments per step that the biases change, under both rules."""
    pair = settings.simulations()
    table = series_frame({side: simulation.switched_share for side, simulation in pair.items()})
    spec = _lines("changed", settings, table, reference=None, y_title=CHANGED_AXIS, height=CHANGED_PX)
    return Panel(
        subject="Share of assignments that the bias changes",
        finding=text.switched(pair, settings.labels),
        how=_how(settings, CHANGED_HOW),
        spec=spec,
        on_page=_on_page(spec, "switched", settings),
        table=table,
    )


def _on_page(spec: specs.Spec, chart: str, settings: TwoRules) -> specs.Spec | None:
    """The chart that follows the Playground's sliders; a still one has none to follow."""
    return dragged.follow(spec, chart, settings.steps - 1) if settings.still_px is None else None


def _how(settings: TwoRules, sentence: str) -> str:
    """Reading of a panel; a panel that stands alone also states that it is simulated."""
    return sentence if settings.still_px is None else IN_A_LESSON + sentence


def _lines(
    kind: str,
    settings: TwoRules,
    table: pl.DataFrame,
    *,
    reference: tuple[float, float] | None,
    y_title: str,
    height: int,
) -> specs.Spec:
    """One line per rule over the steps. table: columns of `series_frame`."""
    families, changes = settings.families, _changes(settings)
    rows = (
        *charts.line_rows(table, families, settings.labels, reference=reference, height=height),
        changes,
    )
    build = partial(charts.lines, rows, families, y_title=y_title, playhead=settings.playhead, height=height)
    empty = (rows[1].is_empty(), changes.is_empty())
    return with_rows((f"simulated {kind}", settings.still_px, *empty, *families.values()), rows, build)


def _learns_offsets(simulation: Simulation) -> bool:
    """Whether an auxiliary loss acts and no rule has a bias."""
    rules = simulation.rules
    return not any(rule.has_bias for rule in rules) and any(rule.rule == "aux_loss" for rule in rules)


def _limits(values: list[NDArray[np.float32]]) -> tuple[float, float]:
    """Lowest and highest value of several arrays."""
    return min(float(v.min()) for v in values), max(float(v.max()) for v in values)


def _changes(settings: TwoRules) -> pl.DataFrame:
    """The changes of rules, as charts over steps mark them."""
    rows = [
        (side, settings.families[side], step, f"{side}: {rule_label(rule)}")
        for side, rules in settings.sides.items()
        for step, rule in rules.changes
    ]
    return switches.rows(pl.DataFrame(rows, schema=switches.SCHEMA, orient="row"), settings.steps - 1)


def _only(side: str, changes: pl.DataFrame) -> pl.DataFrame:
    """Hide the changes of the other side; they keep their room, so that panels beside each other align."""
    other = pl.col("run_id") != side
    clear = [
        pl.when(other).then(pl.lit("transparent")).otherwise(pl.col(c)).alias(c) for c in ("light", "dark")
    ]
    return changes.with_columns(*clear)
