"""What the Playground shows below its controls, in parts that are drawn independently.

Headings and the playhead's slider belong to no part: they stay when a control redraws the charts.
"""

from html import escape

import polars as pl
import streamlit as st

from explorer.charts import playground as charts
from explorer.figures import simulation_text
from explorer.figures.simulation import HELD_OUT, SIDES, TwoRules
from explorer.figures.views.playground import PlaygroundSettings, questions
from explorer.metrics.glossary import tip
from explorer.ui.components.text_table import text_table
from explorer.ui.playground import dragging, parts, settings
from explorer.ui.shared import show


def draw() -> None:
    """All panels but the first, for the current values of the widgets."""
    last = settings.current().rules.steps - 1
    with show.steady("playground"):
        st.subheader("Bias trajectories", help=tip("expert_bias"))
        biases()
        st.subheader("Expert load", help=tip("load"))
        st.slider(
            "Step",
            0,
            last,
            last,
            key="at",
            bind="query-params",
            help=tip("playhead"),
            on_change=parts.draw_playhead,
        )
        loads()
        st.subheader("Assignments changed by the bias")
        changed_assignments()
        st.subheader("Final metrics", help=f"{tip('max_vio_batch')} {tip('max_vio_global')}")
        numbers()
    follow()


@st.fragment(key=parts.BIASES)
def biases() -> None:
    """The biases of both rules over the steps."""
    now = settings.current()
    side_by_side(now, "playground_bias", "Bias trajectories of {}", playhead=float(now.step))


@st.fragment(key=parts.LOADS)
def loads() -> None:
    """The loads of both rules at the playhead."""
    side_by_side(settings.current(), "playground_loads", "Expert load of {} at the playhead")


@st.fragment(key=parts.CHANGED)
def changed_assignments() -> None:
    """How many assignments the biases change."""
    now = settings.current()
    show.question(questions(now)["playground_switched"], live=True, playhead=float(now.step))


@st.fragment(key=parts.FOLLOWER)
def follow() -> None:
    """The component that makes charts follow the sliders; drawn after the charts whose rows it replaces."""
    values = settings.values()
    dragging.follow(values, settings.current().step)


def side_by_side(now: PlaygroundSettings, key: str, called: str, playhead: float | None = None) -> None:
    """The panels of A and B beside each other, under their labels."""
    panel_of = questions(now)
    for side, place in zip(SIDES, show.in_columns(2), strict=True):
        with place:
            side_title(side, now.rules)
            # Without the rate, which stands above: a description that changes draws the chart anew.
            one = panel_of[f"{key}_{side}"]
            show.question(one, live=True, called=called.format(side), playhead=playhead)


def side_title(side: str, rules: TwoRules) -> None:
    """The label of a side with the colour of its lines."""
    style = next(style for style in charts.styles(rules.families) if style.label == side)
    colour = style.ink.pick(st.context.theme.type == "dark")
    label = escape(rules.labels[side])
    st.html(f'<b><span aria-hidden="true" style="color:{colour}">●</span> {label}</b>')


@st.fragment(key=parts.NUMBERS)
def numbers() -> None:
    """The final metrics of both rules, side by side."""
    rules = settings.current().rules
    rows = simulation_text.numbers(rules.simulations(), rules.labels, HELD_OUT)
    text_table(
        pl.DataFrame(simulation_text.side_by_side(rows)),
        alt="Final metrics of the two simulated rules",
        key="playground_numbers",
    )
    show.note(
        f"Held-out: {HELD_OUT:,} tokens not seen in any step, with the final bias. Chance imbalance "
        f"shrinks as more tokens are counted, so each MaxVio has its own random-routing baseline: "
        f"{rules.scores.num_tokens:,} tokens for a step, {HELD_OUT:,} for held-out. Steps to balance: until "
        "the mean MaxVio of 20 steps falls below 1.5 times the baseline of a step. Reversed bias updates: "
        "the share of updates in the last steps that reverse the previous one."
    )
