"""The controls of the theory page: frozen tokens, few enough for the optimum to be computed exactly."""

import streamlit as st

from explorer.simulate import RuleSettings, ScoreSettings
from explorer.ui.playground.controls import RATES, STEP_SIZES
from explorer.ui.shared import controls as widgets
from explorer.ui.shared import urls
from explorer.ui.shared.controls import Control, chosen

BIAS_RULES = ("sign", "proportional", "rms", "quantile")
RULE = (
    Control(
        key="rule",
        label="Rule",
        options=BIAS_RULES,
        default="sign",
        help="How the prices move after every step.",
    ),
    Control(
        key="u",
        label="Rate u",
        options=RATES,
        default="5e-3",
        help="How far one step moves the prices, in score units.",
    ),
    Control(
        key="dec",
        label="Step size",
        options=tuple(STEP_SIZES),
        default="constant",
        help="Constant u, or smaller with the number n of updates so far: sqrt is u/√n, harmonic u/n.",
    ),
)
PROBLEM = (
    Control(
        key="tE", label="Experts E", options=("4", "8", "16"), default="8", help="Sides of the assignment."
    ),
    Control(
        key="tK",
        label="Slots a token, K",
        options=("1", "2", "4"),
        default="1",
        help="Experts that every token is sent to.",
    ),
    Control(
        key="tT",
        label="Tokens T",
        options=("64", "128", "256", "512"),
        default="256",
        help="The same tokens in every step.",
    ),
    Control(
        key="tskew",
        label="Skew of the experts",
        options=("0", "0.5", "1", "1.5", "2"),
        default="1",
        help="How differently the experts are liked: standard deviation of their offsets, in logits.",
    ),
    Control(
        key="tS",
        label="Steps",
        options=("100", "200", "500", "1000"),
        default="200",
        help="Updates of the prices.",
    ),
)
CONTROLS = (*RULE, *PROBLEM)
SEED = "tseed"
KEYS = (*(control.key for control in CONTROLS), SEED)


def options_of(control: Control) -> tuple[str, ...]:
    """What can be chosen: with K = E there would be nothing to decide."""
    if control.key == "tK":
        return tuple(o for o in control.options if int(o) < int(st.session_state["tE"]))
    return control.options


def settle() -> None:
    """Read the address, fall back where it cannot be followed, and say so."""
    widgets.settle(sorted(CONTROLS, key=lambda control: control.key != "tE"), options_of)
    widgets.settle_seed(SEED)
    urls.show_notices(*KEYS)


def score_settings() -> ScoreSettings:
    """What the controls say of the scores."""
    return ScoreSettings(
        num_experts=int(chosen("tE")),
        top_k=int(chosen("tK")),
        num_tokens=int(chosen("tT")),
        skew=float(chosen("tskew")),
        source="frozen",
        seed=int(st.session_state[SEED]),
    )


def rule_settings() -> RuleSettings:
    """What the controls say of the rule."""
    return RuleSettings(rule=chosen("rule"), rate=float(chosen("u")), step_decay=chosen("dec"))
