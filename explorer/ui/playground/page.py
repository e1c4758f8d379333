"""The Playground: two balancing rules on one simulated router, side by side."""

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import captions, switches
from explorer.charts import playground as figures
from explorer.charts.theme import AXIS
from explorer.figures.loads import bar_rows
from explorer.metrics.glossary import tip
from explorer.simulate import RuleSettings, ScoreSettings, Simulation, simulate
from explorer.simulate.summary import random_reference
from explorer.ui.playground import controls, frames, presets, switch
from explorer.ui.playground import text as words
from explorer.ui.shared import controls as widgets
from explorer.ui.shared import show, specs
from explorer.ui.shared.panels import bind

Pair = dict[str, Simulation]
HELD_OUT = 16_384
FAMILY_OF = {"none": "none", "aux_loss": "aux_loss"}
SHARE = "share of the assignments"
LOGITS = "offset learnt (logits)"


@st.cache_resource(max_entries=24, show_spinner=False)
def simulated(
    scores: ScoreSettings, rule: RuleSettings, steps: int, changes: tuple[tuple[int, RuleSettings], ...] = ()
) -> Simulation:
    """One simulation, kept: B stays when only A is changed."""
    return simulate(
        scores, rule, steps=steps, held_out_steps=(steps,), held_out_tokens=HELD_OUT, changes=changes
    )


@st.fragment
def view() -> None:
    """Controls and panels. Only this reruns when a control moves."""
    controls.settle()
    switch.settle()
    bind(*controls.KEYS, *switch.KEYS.values())
    presets.choose()
    rule_cards()
    router_controls()
    scores, steps = controls.score_settings(), int(widgets.chosen("S"))
    rules = {side: controls.rule_settings(side) for side in controls.SIDES}
    pair = {side: simulated(scores, rule, steps, switch.changes(side)) for side, rule in rules.items()}
    with show.steady("playground"):
        panels(pair)


def rule_cards() -> None:
    """Rule A and rule B beside each other."""
    for side, place in zip(controls.SIDES, show.in_columns(2, least_px=330), strict=True):
        rule, rate, decay = controls.RULES[side]
        card = place.container(border=True)
        with card.container(horizontal=True, vertical_alignment="bottom"):
            widgets.draw(rule, controls.options_of, width=160)
            widgets.draw(rate, controls.options_of)
            widgets.draw(decay, controls.options_of, width=115)
        with card:
            switch.control(side)


def router_controls() -> None:
    """What both rules act on."""
    with st.expander("The router and its scores", icon=":material/tune:", expanded=False):
        grid = st.grid(4, min_column_width=180)
        for control in (*controls.ROUTER, *controls.SCORES):
            with grid.cell():
                widgets.draw(control, controls.options_of)
        with grid.cell():
            widgets.draw_seed("seed")


def panels(pair: Pair) -> None:
    """Every figure of the two simulations."""
    labels = {side: f"{side}: {_label(s)}" for side, s in pair.items()}
    families = {side: _family(s) for side, s in pair.items()}
    _balance(pair, labels, families)
    _biases(pair, labels, families)
    _loads(pair, labels, families)
    _switched(pair, labels, families)
    _numbers(pair, labels)


def _label(simulation: Simulation) -> str:
    """`no balancing, from 400 sign u=0.001`."""
    later = [f"from {step} {controls.rule_label(rule)}" for step, rule in simulation.changes]
    return ", ".join([controls.rule_label(simulation.rule), *later])


def _family(simulation: Simulation) -> str:
    """What decides the colour."""
    return "scheduled" if simulation.changes else FAMILY_OF.get(simulation.rule.rule, "loss_free")


def _changes(pair: Pair, families: dict[str, str]) -> pl.DataFrame:
    """The changes of rules as the figures over steps mark them."""
    rows = [
        (side, families[side], step, f"{side}: {controls.rule_label(rule)}")
        for side, simulation in pair.items()
        for step, rule in simulation.changes
    ]
    return switches.rows(pl.DataFrame(rows, schema=switches.SCHEMA, orient="row"), len(pair["A"].counts) - 1)


def _only(side: str, changes: pl.DataFrame) -> pl.DataFrame:
    """Those of the other side cannot be seen but take their room: panels beside each other stay level."""
    other = pl.col("run_id") != side
    clear = [
        pl.when(other).then(pl.lit("transparent")).otherwise(pl.col(c)).alias(c) for c in ("light", "dark")
    ]
    return changes.with_columns(*clear)


def _kept(key: tuple[Any, ...], rows: tuple[pl.DataFrame, ...], build: Callable[[], Any]) -> specs.Spec:
    """A figure of this kind, built once, with these rows."""
    spec = specs.kept(("playground", *key), build)
    for part in rows:
        spec = spec.with_rows(part)
    return spec


def _balance(pair: Pair, labels: dict[str, str], families: dict[str, str]) -> None:
    st.subheader("How uneven is the work?", help=tip("max_vio"))
    table = frames.series_frame({side: s.max_vio for side, s in pair.items()})
    changes = _changes(pair, families)
    rows = (*figures.line_rows(table, families, labels, reference=random_reference(pair["A"])), changes)
    build = partial(figures.lines, rows, families, y_title=AXIS["max_vio"], playhead=specs.SOMEWHERE)
    show.figure(
        _kept(("max_vio", rows[1].is_empty(), changes.is_empty(), *families.values()), rows, build),
        subject="MaxVio of two simulated rules",
        finding=words.balance(pair, labels),
        how="0 is perfectly even. The dotted line is what random routing of that many tokens would show, the "
        "strip reaches to its 95th percentile. The band is from the lowest to the highest step of a bin.",
        table=table,
        key="playground_max_vio",
        live=True,
        playhead=_playhead(),
    )


def _playhead() -> float:
    return float(st.session_state["at"])


def _biases(pair: Pair, labels: dict[str, str], families: dict[str, str]) -> None:
    st.subheader("Which way are the experts pushed?", help=tip("expert_bias"))
    biases = [simulation.bias for simulation in pair.values()]
    limits = min(float(b.min()) for b in biases), max(float(b.max()) for b in biases)
    for (side, simulation), place in zip(pair.items(), show.in_columns(2), strict=True):
        is_learnt = not any(rule.has_bias for rule in simulation.rules) and any(
            rule.rule == "aux_loss" for rule in simulation.rules
        )
        changes = _only(side, _changes(pair, families))
        values = simulation.learnt if is_learnt else simulation.bias
        own = (float(values.min()), float(values.max())) if is_learnt else limits
        table = frames.trajectory_frame(values)
        rows = (*figures.trajectory_rows(table, named=frames.extremes(values), limits=own), changes)
        title = LOGITS if is_learnt else AXIS["expert_bias"]
        build = partial(figures.trajectories, rows, y_title=title, playhead=specs.SOMEWHERE)
        with place:
            _side_title(side, labels, families)
            show.figure(
                _kept(("bias", is_learnt, changes.is_empty()), rows, build),
                subject=f"Expert biases of {labels[side]}",
                finding=words.bias(simulation),
                how="Bold: the experts that end highest and lowest. Both panels have one axis for biases.",
                table=table,
                key=f"playground_bias_{side}",
                live=True,
                playhead=_playhead(),
            )


def _side_title(side: str, labels: dict[str, str], families: dict[str, str]) -> None:
    """The name of a side with the colour of its lines."""
    style = next(style for style in figures.styles(families) if style.label == side)
    colour = style.ink.pick(st.context.theme.type == "dark")
    st.html(f'<b><span aria-hidden="true" style="color:{colour}">●</span> {escape(labels[side])}</b>')


def _loads(pair: Pair, labels: dict[str, str], families: dict[str, str]) -> None:
    st.subheader("Who works at this step?", help=tip("load"))
    last = len(pair["A"].counts) - 1
    st.slider("Step", 0, last, last, key="at", bind="query-params", help=tip("playhead"))
    step = int(st.session_state["at"])
    top = max(float(s.counts[step].max() / s.scores.mean_load) for s in pair.values())
    for (side, simulation), place in zip(pair.items(), show.in_columns(2), strict=True):
        now = frames.loads_frame(simulation, step)
        with place:
            _side_title(side, labels, families)
            show.figure(
                _kept(
                    ("loads", len(now)),
                    (bar_rows(now), figures.bar_limit(top)),
                    partial(figures.bars, now, top),
                ),
                subject=f"Loads of {labels[side]} at the playhead",
                finding=captions.load_bars(now),
                how="Every expert would reach the line at 1 if the work were shared evenly. Both panels have "
                "the same axis.",
                table=now,
                key=f"playground_loads_{side}",
                live=True,
            )


def _switched(pair: Pair, labels: dict[str, str], families: dict[str, str]) -> None:
    st.subheader("How much does the bias decide?")
    table = frames.series_frame({side: s.switched_share for side, s in pair.items()})
    changes = _changes(pair, families)
    rows = (*figures.line_rows(table, families, labels, reference=None, height=200), changes)
    build = partial(figures.lines, rows, families, y_title=SHARE, playhead=specs.SOMEWHERE, height=200)
    show.figure(
        _kept(("switched", changes.is_empty(), *families.values()), rows, build),
        subject="Share of assignments that the bias changes",
        finding=words.switched(pair, labels),
        how="The share of assignments that the top K of the scores alone would not have made.",
        table=table,
        key="playground_switched",
        live=True,
        playhead=_playhead(),
    )


def _numbers(pair: Pair, labels: dict[str, str]) -> None:
    st.subheader("In numbers")
    st.dataframe(
        words.numbers(pair, labels),
        hide_index=True,
        alt="Figures of the two simulated rules",
        column_config={
            "MaxVio held-out": st.column_config.NumberColumn(format="%.3f", help=tip("max_vio_global")),
            "MaxVio last steps": st.column_config.NumberColumn(format="%.3f", help=tip("max_vio_batch")),
            "random routing": st.column_config.NumberColumn(format="%.3f", help=tip("uniform_reference")),
            "bias spread": st.column_config.NumberColumn(format="%.3f"),
            "moves undone": st.column_config.NumberColumn(format="percent"),
        },
    )
    show.note(
        f"Held-out: {HELD_OUT:,} tokens that no step has seen, with the last bias. Near random routing: the "
        "mean of 20 steps is below 1.5 times the MaxVio of random routing. Moves undone: how many bias moves "
        "of the last steps go against the move before."
    )
