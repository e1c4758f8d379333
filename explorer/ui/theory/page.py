"""The Theory page: balancing as a descent on a dual, on frozen tokens step by step, and learning online."""

from dataclasses import dataclass
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import theory as figures
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
from explorer.simulate.selection import Floats
from explorer.ui.playground import controls as playground_controls
from explorer.ui.shared import controls as widgets
from explorer.ui.shared import panels, show, specs
from explorer.ui.theory import controls
from explorer.ui.theory import text as words

ONLINE_STEPS = 2000

DUAL_HOW = (
    "The dual can come down to the line and never below it: the optimum is exact, from a linear program."
)
REGRET_HOW = (
    "Other tokens in every step. Regret is the sum over all steps of how far the dual lies above its "
    "minimum, in score per token. Over steps, a rule that keeps paying climbs as a straight line; over "
    "their logarithm, logarithmic regret is one."
)
TIES_HOW = (
    "How densely tokens waver between two experts for their last place, at the minimum. These densities are "
    "the weights of a graph over the experts; μ is the second eigenvalue of its Laplacian. The more tokens "
    "waver, the more curved the dual, and the sooner a shrinking step has learnt it."
)


@dataclass(frozen=True, kw_only=True)
class Online:
    """Everything of the online part."""

    regrets: dict[str, Regret]
    ties: pl.DataFrame
    modulus: float
    rate: float
    ratio: float


@st.cache_resource(max_entries=16, show_spinner=False)
def exact(settings: ScoreSettings) -> Optimum:
    """The optimum, kept: it does not depend on the rule."""
    return lp_optimum(_frozen(settings), settings.top_k)


@st.cache_resource(max_entries=16, show_spinner=False)
def descent(settings: ScoreSettings, rule: RuleSettings, steps: int) -> Descent:
    return descend(_frozen(settings), settings.top_k, rule, steps)


def _frozen(settings: ScoreSettings) -> Floats:
    source = Scores(settings)
    return source.of(source.weights, source.offset(0)).astype("float64")


@st.cache_resource(max_entries=8, show_spinner=False)
def online(settings: ScoreSettings) -> Online:
    """Five step sizes on fresh tokens of the same distribution, and how curved its dual is."""
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
    return Online(
        regrets={
            playground_controls.rule_label(rule): online_regret(pool, rule, ONLINE_STEPS, settings.seed)
            for rule in rules
        },
        ties=pl.DataFrame(
            [
                {"one": i, "other": j, "density": max(-float(laplacian[i, j]), 0.0)}
                for i in experts
                for j in experts
                if i != j
            ]
        ),
        modulus=modulus,
        rate=rate,
        ratio=convexity_ratio(pool, modulus, radius=2 * width) if modulus > 0 else 0.0,
    )


def view() -> None:
    """The problem in formulas, then the descent, then learning online."""
    problem()
    controls.settle()
    panels.bind(*controls.KEYS)
    frozen_part()


@st.fragment
def frozen_part() -> None:
    """Controls and the panels that follow them."""
    rule_row()
    settings, steps = controls.score_settings(), int(widgets.chosen("tS"))
    run, optimum = descent(settings, controls.rule_settings(), steps), exact(settings)
    with show.steady("theory"):
        descent_panels(run, optimum, settings)
        online_panels(settings)


def problem() -> None:
    """What is solved, and who says so."""
    with st.expander("The problem in formulas, and who says what", icon=":material/function:"):
        for formula in (words.PROBLEM, words.LAGRANGIAN, words.DUAL, words.IDENTITY, words.CONDITION):
            st.latex(formula)
        left, right = show.in_columns(2)
        left.markdown(words.PUBLISHED)
        right.markdown(words.DERIVED)


def rule_row() -> None:
    """Rule and problem."""
    rule, rate, decay = controls.RULE
    with st.container(border=True, horizontal=True, vertical_alignment="bottom"):
        widgets.draw(rule, controls.options_of, width=200)
        widgets.draw(rate, controls.options_of)
        widgets.draw(decay, controls.options_of, width=120)
    grid = st.grid(6, min_column_width=130)
    for control in controls.PROBLEM:
        with grid.cell():
            widgets.draw(control, controls.options_of)
    with grid.cell():
        widgets.draw_seed(controls.SEED)


def descent_panels(run: Descent, optimum: Optimum, settings: ScoreSettings) -> None:
    """On frozen tokens, step by step."""
    tokens = run.num_tokens
    path = pl.DataFrame({"step": range(len(run.dual)), "dual": run.dual / tokens}).with_columns(
        gap=pl.col("dual") - optimum.value / tokens
    )
    st.subheader("How far is it to the best balanced assignment?")
    st.markdown(show.plain(words.dual(run, optimum)))
    left, right = show.in_columns(2)
    with left:
        show.figure(
            specs.make(figures.dual_line(path, optimum.value / tokens)),
            subject="Dual over steps",
            finding=words.dual(run, optimum),
            how=DUAL_HOW,
            table=path,
            key="theory_dual",
            said=False,
        )
    with right:
        show.figure(
            specs.make(figures.gap_line(path.filter(pl.col("gap") > 1e-12))),
            subject="Dual gap over steps, logarithmic",
            finding=words.dual(run, optimum),
            how=DUAL_HOW,
            table=path,
            key="theory_gap",
            said=False,
        )
    show.note(DUAL_HOW)
    _verdicts(run)
    left, right = show.in_columns(2)
    with left:
        _moves(run)
    with right:
        _band(run)


def _verdicts(run: Descent) -> None:
    st.subheader("Does every step improve?")
    frame = pl.DataFrame(
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
    show.figure(
        specs.make(figures.account(frame, words.VERDICT_WORDS)),
        subject="Promise and benefit of every step",
        finding=words.verdicts(run),
        how="Promise: what the dual would fall by if nobody chose anew. Benefit: what choosing anew takes "
        "away from that. A step improves exactly when the benefit stays below the promise.",
        table=frame,
        key="theory_account",
    )


def _moves(run: Descent) -> None:
    st.subheader("Who moves where?")
    # Only the sign rule is bound to the order of the classes; the others go by loads or prices.
    free = widgets.chosen("rule") != "sign"
    table = pl.DataFrame(
        [
            {"left": left, "joined": joined, "pairs": int(run.moves[i, j]), "allowed": i < j or free}
            for i, left in enumerate(CLASSES)
            for j, joined in enumerate(CLASSES)
        ]
    )
    show.figure(
        specs.make(figures.moves(table)),
        subject="Moves of tokens between classes of experts",
        finding=words.moves(run, widgets.chosen("rule")),
        how="Every expert that a token left, paired with every one that it joined in the same step; over, "
        "exact and under compare loads with the balanced load.",
        table=table,
        key="theory_moves",
    )


def _band(run: Descent) -> None:
    st.subheader("How close to balance?")
    table = pl.DataFrame({"step": range(len(run.deviation)), "deviation": run.deviation})
    show.figure(
        specs.make(figures.band(table, run.band)),
        subject="Largest deviation from the balanced load",
        finding=words.band(run),
        how="The band is what the ties at a minimum of the dual can leave open, E − 1 tokens (derived here). "
        "A constant step that is too large for the scores does not stay in it.",
        table=table,
        key="theory_band",
    )


def online_panels(settings: ScoreSettings) -> None:
    """Fresh tokens in every step."""
    st.subheader("What does learning online cost?")
    found, at = online(settings), drawn_steps(ONLINE_STEPS)
    frame = pl.concat(
        pl.DataFrame({"rule": [name] * len(at), "step": at, "regret": r.regret[at - 1]})
        for name, r in found.regrets.items()
    )
    st.markdown(show.plain(words.regret(found.regrets)))
    for place, log_x in zip(show.in_columns(2), (False, True), strict=True):
        with place:
            show.figure(
                specs.kept(("regret", settings, log_x), partial(figures.regret, frame, log_x=log_x)),
                subject=f"Regret over {'log ' if log_x else ''}steps",
                finding=words.regret(found.regrets),
                how=REGRET_HOW,
                table=frame,
                key=f"theory_regret_{log_x}",
                said=False,
            )
    show.note(REGRET_HOW)
    _curvature(found, settings)


def _curvature(found: Online, settings: ScoreSettings) -> None:
    st.subheader("How curved is the dual?")
    finding = words.ties(found.modulus, found.rate, found.ratio)
    left, right = show.in_columns(2)
    with left:
        show.figure(
            specs.kept(("ties", settings), partial(figures.ties, found.ties)),
            subject="Density of ties between two experts",
            finding=finding,
            how=TIES_HOW,
            table=found.ties,
            key="theory_ties",
            said=False,
        )
    with right:
        st.markdown(show.plain(finding))
        show.note(TIES_HOW)
