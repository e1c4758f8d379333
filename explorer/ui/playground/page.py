"""The Playground: two balancing rules on one simulated router, side by side.

Everything is one fragment, and its parts are fragments with keys (`parts`): a rate or the playhead draws only
the parts that read it, since every control that is drawn costs the browser time.
"""

from dataclasses import replace
from functools import partial

import streamlit as st

from explorer.figures.simulation import SIDES
from explorer.figures.views import playground_choices as choices
from explorer.figures.views import rule_change
from explorer.figures.views.choice import defaults
from explorer.figures.views.playground import questions
from explorer.metrics.glossary import tip
from explorer.ui.playground import answers, formulas, parts, presets, settings, switch
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
        st.subheader("Imbalance (MaxVio)", help=tip("max_vio"))
        picture()
    answers.draw()


# Not one fragment that draws into a container outside of it: the menu below the chart is a fragment too, and
# would stand there once more after every run.
@st.fragment(key=parts.PICTURE)
def picture() -> None:
    """The chart that every control is about."""
    now = settings.current()
    show.question(questions(now)["playground_max_vio"], live=True, playhead=float(now.step))


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
            rate_of(side)


def rate_of(side: str) -> None:
    """The rate of a rule with its formula and its change. A new rate redraws the formula alone."""
    rule, rate, _ = choices.RULES[side]
    name, moved = state.text(rule.key), partial(parts.draw_rate, side)
    # Wide enough to drag: the charts follow.
    label = formulas.rate_label(name, side)
    controls.draw(replace(rate, label=label), choices.options_of, on_change=moved)
    if name == "smebu":
        with st.container(horizontal=True, gap="small"):
            for choice in choices.SMEBU[side]:
                controls.draw(choice, choices.options_of, on_change=moved)
    with st.container(horizontal=True, horizontal_alignment="distribute", gap="small"):
        st.fragment(formula_of, key=parts.FORMULAS[side])(side)
        switch.control(side)


def formula_of(side: str) -> None:
    """The update of a rule with its rate."""
    rule, rate, _ = choices.RULES[side]
    name = state.text(rule.key)
    formula = formulas.update(name, float(state.text(rate.key)))
    st.markdown(f"${formula}$", help=formulas.SYMBOLS.get(name, formulas.LOADS), width="content")


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
