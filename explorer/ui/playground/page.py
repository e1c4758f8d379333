"""The Playground: two balancing rules on one simulated router, side by side.

Everything is one fragment, and its parts are fragments with keys (`parts`): a rate or the playhead draws only
the parts that read it, since every control that is drawn costs the browser time.
"""

from dataclasses import replace
from functools import partial
from html import escape

import polars as pl
import streamlit as st

from explorer.charts import playground as charts
from explorer.figures import simulation_text
from explorer.figures.panel import Question
from explorer.figures.simulation import HELD_OUT, SIDES, TwoRules
from explorer.figures.views import playground_choices as choices
from explorer.figures.views import rule_change
from explorer.figures.views.choice import defaults
from explorer.figures.views.playground import PlaygroundSettings, questions, settings_of
from explorer.metrics.glossary import tip
from explorer.ui.components.text_table import text_table
from explorer.ui.playground import dragging, formulas, parts, presets, switch
from explorer.ui.shared import controls, panels, show, state, urls

PICTURE = "playground_picture"
# Beside the controls the picture stays in sight, however many of them are open; on a narrow page it is above.
# Sentences that change with the settings have room to grow: nothing moves when a slider is released.
_PLACES = f"""
.st-key-{presets.COMMENT} {{ min-height: 3.2rem; }}
.st-key-{PICTURE} .st-key-panel-playground-max-vio > :first-child {{ min-height: 5rem; }}
@media (min-width: 1001px) {{
  [data-testid="stColumn"]:has(> * .st-key-{PICTURE})
    {{ align-self: flex-start; position: sticky; top: 3.5rem; }}
}}
@media (max-width: 1000px) {{
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"] > * .st-key-{PICTURE})
    {{ flex-wrap: wrap; & > [data-testid="stColumn"] {{ flex: 1 1 100%; min-width: 100%; }} }}
  [data-testid="stColumn"]:has(> * .st-key-{PICTURE}) {{ order: -1; }}
}}
"""


@st.fragment(key=parts.ALL)
def view() -> None:
    """Controls and panels. Nothing else reruns when a control moves."""
    read_address()
    panels.bind(*choices.KEYS, *rule_change.KEYS.values())
    presets.choose()
    st.html(f"<style>{_PLACES}</style>")
    left, right = st.columns([9, 11], gap="medium")
    with left:
        rule_cards()
        router_controls()
    with right, show.steady(PICTURE):
        picture()
    answers()


# Not one fragment that draws into a container outside of it: the menu below the chart is a fragment too, and
# would stand there once more after every run.
@st.fragment(key=parts.PICTURE)
def picture() -> None:
    """The chart that every control is about."""
    settings = settings_of(_values())
    st.subheader("Imbalance (MaxVio)", help=tip("max_vio"))
    show.question(questions(settings)["playground_max_vio"], live=True, playhead=float(settings.step))


@st.fragment(key=parts.ANSWERS)
def answers() -> None:
    """All other panels, for what the widgets say."""
    values = _values()
    settings = settings_of(values)
    with show.steady("playground"):
        draw_panels(settings)
    dragging.follow(values, settings.step)


def _values() -> dict[str, str]:
    """Current values of all controls."""
    return state.values((*choices.KEYS, *rule_change.KEYS.values()))


def read_address() -> None:
    """Give every setting a value, and say where the address could not be followed."""
    controls.read_address(choices.IN_ORDER, choices.options_of)
    for side in SIDES:
        if state.text(side) != "smebu":
            state.put_all(defaults(choices.SMEBU[side]))
    controls.read_seed("seed")
    controls.read_playhead("at", state.number("S") - 1)
    urls.show_notices(*choices.KEYS)
    switch.read_address()


def rule_cards() -> None:
    """Rule A above rule B, each with its formula and its rate."""
    for side in SIDES:
        rule, _, decay = choices.RULES[side]
        with st.container(border=True, gap="small", key=f"card_{side}"):
            with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
                controls.draw(rule, choices.options_of)
                controls.draw(decay, choices.options_of, width=110)
            st.fragment(rate_of, key=parts.RATES[side])(side)


def rate_of(side: str) -> None:
    """The rate of a rule with its formula and its change."""
    rule, rate, _ = choices.RULES[side]
    name, moved = state.text(rule.key), partial(parts.draw_rate, side)
    # Wide enough to drag: the charts follow.
    label = formulas.rate_label(name, side)
    controls.draw(replace(rate, label=label), choices.options_of, on_change=moved)
    if name == "smebu":
        with st.container(horizontal=True, gap="small"):
            for choice in choices.SMEBU[side]:
                controls.draw(choice, choices.options_of, on_change=moved)
    formula = formulas.update(name, float(state.text(rate.key)))
    with st.container(horizontal=True, horizontal_alignment="distribute", gap="small"):
        st.markdown(f"${formula}$", help=formulas.SYMBOLS.get(name, formulas.LOADS), width="content")
        switch.control(side)


def router_controls() -> None:
    """What both rules act on."""
    with st.expander("The router and its scores", icon=":material/tune:", expanded=False):
        grid = st.grid(2, min_column_width=150)
        for choice in (*choices.ROUTER, *choices.SCORES):
            with grid.cell():
                controls.draw(choice, choices.options_of)
        with grid.cell():
            controls.draw_seed("seed")
        if note := choices.solved_skew(state.values(choices.KEYS)):
            show.note(note)


def draw_panels(settings: PlaygroundSettings) -> None:
    """The other panels of the two simulations."""
    panel_of, rules = questions(settings), settings.rules
    at = float(settings.step)
    st.subheader("Bias trajectories", help=tip("expert_bias"))
    side_by_side(panel_of, "playground_bias", rules, "Bias trajectories of {}", playhead=at)
    st.subheader("Expert load", help=tip("load"))
    last = rules.steps - 1
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
    side_by_side(panel_of, "playground_loads", rules, "Expert load of {} at the playhead")
    st.subheader("Assignments changed by the bias")
    show.question(panel_of["playground_switched"], live=True, playhead=at)
    numbers(rules)


def side_by_side(
    panel_of: dict[str, Question], key: str, rules: TwoRules, called: str, playhead: float | None = None
) -> None:
    """The panels of A and B beside each other, under their labels."""
    for side, place in zip(SIDES, show.in_columns(2), strict=True):
        with place:
            side_title(side, rules)
            # Without the rate, which stands above: a description that changes draws the chart anew.
            one = panel_of[f"{key}_{side}"]
            show.question(one, live=True, called=called.format(side), playhead=playhead)


def side_title(side: str, rules: TwoRules) -> None:
    """The label of a side with the colour of its lines."""
    style = next(style for style in charts.styles(rules.families) if style.label == side)
    colour = style.ink.pick(st.context.theme.type == "dark")
    label = escape(rules.labels[side])
    st.html(f'<b><span aria-hidden="true" style="color:{colour}">●</span> {label}</b>')


def numbers(rules: TwoRules) -> None:
    """The final metrics of both rules, side by side."""
    st.subheader("Final metrics", help=f"{tip('max_vio_batch')} {tip('max_vio_global')}")
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
