"""Balancing as a descent on a dual: frozen tokens step by step with the exact optimum, and learning online.

Like simulations, these panels ask no store and have no arms: they depend on their settings alone.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import polars as pl

from explorer.charts import dragged
from explorer.charts import seats as seat_charts
from explorer.charts import spec as specs
from explorer.charts import theory as charts
from explorer.charts.theme import Figure
from explorer.figures import theory_text as text
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Panel
from explorer.figures.simulation import rule_label
from explorer.figures.store import Store
from explorer.figures.templates import with_rows
from explorer.routing.selection import Floats
from explorer.simulate import RuleSettings, Scores, ScoreSettings
from explorer.simulate.assignment import Optimum, lp_optimum
from explorer.simulate.descent import CLASSES, VERDICTS, Descent, descend
from explorer.simulate.online import (
    Regret,
    convexity_ratio,
    curvature,
    curvature_rate,
    drawn_steps,
    make_pool,
    online_regret,
    tie_laplacian,
    tie_width,
)

ONLINE_STEPS = 2000
SEATS_HOW = (
    "Every expert has seats for its uniform share of the assignments: eight dots. Orange: assignments "
    "without a seat. Rings: empty seats. Below each expert: its number, its load, and the bias b that is "
    "added to its scores before the top K."
)
LEAST_GAP = 1e-12
"""Score per token; a smaller distance to the optimum is rounding and has no place on a logarithmic axis."""
DUAL_HOW = "The dual never falls below the dashed line, the exact optimum from a linear program."
ACCOUNT = "Predicted decrease and switching benefit per step"
ACCOUNT_HOW = (
    "Predicted decrease: how far the dual would fall if no token changed its experts. Switching benefit: "
    "the score that tokens gain by changing experts, which raises the dual again. A step lowers the dual "
    "exactly when the switching benefit is smaller than the predicted decrease."
)
MOVES_HOW = (
    "Every expert that a token left, paired with each one that it joined in the same step. Over, exact and "
    "under compare loads with the balanced load."
)
BAND_HOW = (
    "The band is N − 1 tokens, the deviation that ties at a minimum of the dual allow (derived here). With a "
    "constant step that is too large for the scores, loads do not stay in it."
)
REGRET_HOW = (
    "New tokens in every step. Regret is the sum over all steps of the dual's distance to its minimum, in "
    "score per token. A persistent cost is a straight line against steps, logarithmic regret one against "
    "their logarithm."
)
TIES_HOW = (
    "How densely tokens tie between two experts for their last place, at the minimum. These densities weight "
    "a graph over the experts; μ is the second eigenvalue of its Laplacian. More ties make the dual more "
    "curved, and a shrinking step learns it sooner."
)


@dataclass(frozen=True, kw_only=True)
class OneRule:
    """A bias rule on frozen tokens."""

    scores: ScoreSettings
    rule: RuleSettings
    steps: int

    def descent(self) -> Descent:
        """Every step of the rule."""
        return _descent(self.scores, self.rule, self.steps)

    def optimum(self) -> Optimum:
        """The exact optimum of the assignment."""
        return _optimum(self.scores)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The loads before the first update, or after the last."""

    descent: OneRule
    is_balanced: bool


@dataclass(frozen=True, kw_only=True)
class Online:
    """Learning on new tokens in every step."""

    scores: ScoreSettings
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class OnlineResult:
    """The regret of several step sizes, and the curvature of the dual that they descend on."""

    regrets: dict[str, Regret]
    """Rule -> regret over the steps."""
    ties: pl.DataFrame
    """Columns one, other, density: each pair of experts in both orders."""
    modulus: float
    """μ, the second eigenvalue of the tie-density Laplacian."""
    rate: float
    """u of the proportional rule with step size u/n that μ suggests."""
    ratio: float
    """The least observed rise of the dual near its minimum, in units of (μ/2)·‖b − b*‖²."""


@lru_cache(maxsize=16)
def _optimum(settings: ScoreSettings) -> Optimum:
    """Kept apart from the descent: it does not depend on the rule."""
    return lp_optimum(_frozen(settings), settings.top_k)


@lru_cache(maxsize=16)
def _descent(settings: ScoreSettings, rule: RuleSettings, steps: int) -> Descent:
    return descend(_frozen(settings), settings.top_k, rule, steps)


def _frozen(settings: ScoreSettings) -> Floats:
    """Scores [T, E] of the frozen tokens."""
    source = Scores(settings)
    return source.of(source.weights, source.offset(0)).astype("float64")


@lru_cache(maxsize=8)
def online(settings: ScoreSettings) -> OnlineResult:
    """Four step sizes on new tokens of the same distribution, and the curvature of its dual."""
    pool = make_pool(settings)
    prices = pool.optimum.prices
    width = tie_width(pool.scores, prices, pool.top_k)
    laplacian = tie_laplacian(pool.scores, prices, pool.top_k, width)
    modulus = curvature(laplacian)
    rate = curvature_rate(modulus, settings.num_experts, settings.top_k) if modulus > 0 else 1.0
    rules = (
        RuleSettings(rule="sign", rate=1e-2),
        RuleSettings(rule="proportional", rate=1e-2),
        RuleSettings(rule="proportional", rate=0.1, step_decay="sqrt"),
        RuleSettings(rule="proportional", rate=float(f"{rate:.2g}"), step_decay="harmonic"),
    )
    experts = range(settings.num_experts)
    densities = [
        {"one": i, "other": j, "density": max(-float(laplacian[i, j]), 0.0)}
        for i in experts
        for j in experts
        if i != j
    ]
    return OnlineResult(
        regrets={rule_label(rule): online_regret(pool, rule, ONLINE_STEPS, settings.seed) for rule in rules},
        ties=pl.DataFrame(densities),
        modulus=modulus,
        rate=rate,
        ratio=convexity_ratio(pool, modulus, radius=2 * width) if modulus > 0 else 0.0,
    )


def seats(store: Store, arms: ArmSet, settings: Scene) -> Panel:
    """Tokens on the seats of the experts, by their scores alone or with the learned biases."""
    run = settings.descent.descent()
    place = -1 if settings.is_balanced else 0
    table = pl.DataFrame(
        {
            "expert": pl.Series(range(len(run.prices[0])), dtype=pl.Int32),
            "tokens": run.loads[place],
            "bias": run.prices[place],
        }
    )
    highest = max(-(-count // seat_charts.ACROSS) for at in (0, -1) for count in _dots(run, at))
    dots = seat_charts.dot_rows(_dots(run, place))
    spec = with_rows(
        ("seats", table.height, highest), (dots, table), partial(seat_charts.seats, dots, table, highest)
    )
    return Panel(
        subject="Assignments and seats " + ("with biases" if settings.is_balanced else "by scores alone"),
        finding=text.seats(run, is_balanced=settings.is_balanced),
        how=SEATS_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "seats") if settings.is_balanced else None,
        table=table,
    )


def _dots(run: Descent, place: int) -> list[int]:
    """Dots of each expert in one row of loads, rounded to whole ones."""
    return [math.floor(seat_charts.SEATS * int(load) / run.load + 0.5) for load in run.loads[place]]


def dual(store: Store, arms: ArmSet, settings: OneRule) -> Panel:
    """The dual over steps, with the optimum."""
    path, optimum = _path(settings), settings.optimum()
    best = optimum.value / settings.scores.num_tokens
    spec = _spec("dual", (), charts.dual_rows(path, best), partial(charts.dual_line, path, best))
    return Panel(
        subject="Dual over steps",
        finding=text.dual(settings.descent(), optimum),
        how=DUAL_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "dual"),
        table=path,
    )


def gap(store: Store, arms: ArmSet, settings: OneRule) -> Panel:
    """Distance of the dual to the optimum over steps, logarithmic."""
    path = _path(settings)
    visible = path.filter(pl.col("gap") > LEAST_GAP)
    spec = _spec("gap", visible.is_empty(), (visible,), partial(charts.gap_line, visible))
    return Panel(
        subject="Dual gap over steps, logarithmic",
        finding=text.dual(settings.descent(), settings.optimum()),
        how=DUAL_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "gap"),
        table=path,
    )


def _spec(name: str, kind: Hashable, rows: Sequence[pl.DataFrame], build: Callable[[], Figure]) -> specs.Spec:
    """A chart that follows the rate. kind: what it depends on beside its rows, see `templates.with_rows`."""
    return with_rows((f"theory {name}", kind), rows, build)


def _path(settings: OneRule) -> pl.DataFrame:
    """Columns step, dual and gap, both in score per token."""
    run = settings.descent()
    best = settings.optimum().value / run.num_tokens
    path = pl.DataFrame({"step": range(len(run.dual)), "dual": run.dual / run.num_tokens})
    return path.with_columns(gap=pl.col("dual") - best)


def account(store: Store, arms: ArmSet, settings: OneRule) -> Panel:
    """Predicted decrease, switching benefit and verdict of each step."""
    run = settings.descent()
    table = pl.DataFrame(
        {
            "step": range(len(run.promise)),
            "dual": run.dual[:-1],
            "lagrangian of old choice, new prices": run.dual[:-1] - run.promise,
            "dual after": run.dual[1:],
            "promise": run.promise,
            "benefit": run.benefit,
            "switched": run.switched,
            "condition": run.condition,
            "verdict": [VERDICTS[v] for v in run.verdict],
        }
    )
    rows = charts.account_rows(table, text.VERDICT_WORDS)
    spec = _spec("account", len(rows), rows, partial(charts.account, table, text.VERDICT_WORDS))
    return Panel(
        subject=ACCOUNT,
        finding=text.verdicts(run),
        how=ACCOUNT_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "account"),
        table=table,
    )


def moves(store: Store, arms: ArmSet, settings: OneRule) -> Panel:
    """Moves of tokens between overloaded, exact and under-loaded experts."""
    run, rule = settings.descent(), settings.rule.rule
    # Only the sign rule is bound to the order of the classes; the others follow loads or prices.
    is_free = rule != "sign"
    table = pl.DataFrame(
        [
            {"left": left, "joined": joined, "pairs": int(run.moves[i, j]), "allowed": i < j or is_free}
            for i, left in enumerate(CLASSES)
            for j, joined in enumerate(CLASSES)
        ]
    )
    spec = _spec("moves", (), (table,), partial(charts.moves, table))
    return Panel(
        subject="Moves of tokens between classes of experts",
        finding=text.moves(run, rule),
        how=MOVES_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "moves"),
        table=table,
    )


def deviation(store: Store, arms: ArmSet, settings: OneRule) -> Panel:
    """Largest deviation from the balanced load over steps."""
    run = settings.descent()
    table = pl.DataFrame({"step": range(len(run.deviation)), "deviation": run.deviation})
    spec = _spec("band", run.band, (table,), partial(charts.band, table, run.band))
    return Panel(
        subject="Largest deviation from the balanced load",
        finding=text.band(run),
        how=BAND_HOW,
        spec=spec,
        on_page=dragged.follow(spec, "band"),
        table=table,
    )


def regret(store: Store, arms: ArmSet, settings: Online) -> Panel:
    """Cumulative regret of several step sizes, over steps or their logarithm."""
    result, steps = online(settings.scores), drawn_steps(ONLINE_STEPS)
    table = pl.concat(
        pl.DataFrame({"rule": [name] * len(steps), "step": steps, "regret": run.regret[steps - 1]})
        for name, run in result.regrets.items()
    )
    return Panel(
        subject=f"Regret over {'log ' if settings.log_x else ''}steps",
        finding=text.regret(result.regrets),
        how=REGRET_HOW,
        spec=specs.make(charts.regret(table, log_x=settings.log_x)),
        table=table,
    )


def tie_density(store: Store, arms: ArmSet, settings: Online) -> Panel:
    """Density of ties between each two experts, and the curvature that follows from it."""
    result = online(settings.scores)
    return Panel(
        subject="Density of ties between two experts",
        finding=text.ties(result.modulus, result.rate, result.ratio),
        how=TIES_HOW,
        spec=specs.make(charts.ties(result.ties)),
        table=result.ties,
    )
