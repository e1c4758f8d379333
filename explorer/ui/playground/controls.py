"""The controls of the playground: every value is a short parameter of the address, checked on arrival.

All values are choices from a list (the seed and the playhead are whole numbers), so that a preset can be
met again exactly and a link cannot ask for a simulation of an hour.
"""

from collections.abc import Mapping

import streamlit as st

from explorer.simulate import RuleSettings, ScoreSettings
from explorer.ui.shared import controls as widgets
from explorer.ui.shared import urls
from explorer.ui.shared.controls import Control, chosen

RATES = (*(f"{m}e-{d}" for d in (5, 4, 3, 2, 1) for m in (1, 2, 5)), "1")
RULE_NAMES = {
    "none": "no balancing",
    "sign": "sign",
    "proportional": "proportional",
    "rms": "RMS-normalised",
    "quantile": "quantile",
    "aux_loss": "auxiliary loss",
}
STEP_SIZES = {"constant": "u", "sqrt": "u/√n", "harmonic": "u/n"}
SIDES = ("A", "B")


def _side(side: str, rule: str, rate: str) -> tuple[Control, ...]:
    return (
        Control(
            key=side,
            label=f"Rule {side}",
            options=tuple(RULE_NAMES),
            default=rule,
            help="Sign, proportional, RMS and quantile move a bias that is added to the scores before the "
            "top-K. The auxiliary loss moves the scores themselves.",
        ),
        Control(
            key=f"u{side}",
            label=f"Rate u of {side}",
            options=RATES,
            default=rate,
            help="How far one step moves: score units for the bias rules; for quantile the share of the way "
            "to the exact bias, 1 is all of it; α times the learning rate for the auxiliary loss.",
        ),
        Control(
            key=f"n{side}",
            label="Step size",
            options=tuple(STEP_SIZES),
            default="constant",
            help="Constant u, or smaller with the number n of updates so far: sqrt is u/√n, harmonic u/n.",
        ),
    )


RULES: dict[str, tuple[Control, ...]] = {
    "A": _side("A", "sign", "1e-3"),
    "B": _side("B", "proportional", "1e-2"),
}
ROUTER = (
    Control(
        key="N",
        label="Experts N",
        options=("4", "8", "16", "32", "64"),
        default="16",
        help="Routed experts of the one layer that is simulated.",
    ),
    Control(
        key="K",
        label="Chosen for each token, K",
        options=("1", "2", "4", "6", "8"),
        default="2",
        help="Experts that every token is sent to.",
    ),
    Control(
        key="T",
        label="Tokens in a step, T",
        options=("128", "256", "512", "1024", "2048", "4096"),
        default="512",
        help="Loads are counted over these tokens, then the rule moves once.",
    ),
    Control(
        key="S",
        label="Steps",
        options=("200", "500", "1000", "2000", "5000"),
        default="1000",
        help="Length of the simulation.",
    ),
)
SCORES = (
    Control(
        key="gate",
        label="Score function",
        options=("sigmoid", "softmax"),
        default="sigmoid",
        help="Softmax scores are of the order of 1/N, so the same u is a larger step for them.",
    ),
    Control(
        key="tok",
        label="Tokens of a step",
        options=("fresh", "frozen"),
        default="fresh",
        help="Fresh: others in every step. Frozen: the same ones, which leaves only what the rule does.",
    ),
    Control(
        key="skew",
        label="Skew of the experts",
        options=("0", "0.25", "0.5", "0.75", "1", "1.5", "2", "3"),
        default="1",
        help="How differently the experts are liked: standard deviation of their offsets, in logits.",
    ),
    Control(
        key="domains",
        label="Domain skew",
        options=("0", "0.5", "1", "2"),
        default="0",
        help="Four domains that like different experts, 64 tokens of one domain in a row; standard deviation "
        "in logits. 0 is a single domain.",
    ),
    Control(
        key="drift",
        label="Drift",
        options=("0", "0.1", "0.25", "0.5", "1", "2"),
        default="0",
        help="Turns in 1,000 steps of the offsets between two independent draws.",
    ),
    Control(
        key="shift",
        label="Sudden shift at step (0: never)",
        options=("0", "100", "250", "500", "750", "1000", "2000"),
        default="0",
        help="From this step on the experts' offsets are drawn anew, like a change of corpus.",
    ),
    Control(
        key="rich",
        label="Rich get richer",
        options=("0", "0.002", "0.005", "0.01", "0.02", "0.05"),
        default="0",
        help="A caricature of training: an expert with twice its share gains that many logits in a step, at "
        "most 3 in all.",
    ),
    Control(
        key="wait",
        label="Rules start at step",
        options=("0", "100", "250", "500"),
        default="0",
        help="Before that nothing is done against imbalance.",
    ),
)
CONTROLS: tuple[Control, ...] = (*RULES["A"], *RULES["B"], *ROUTER, *SCORES)
BY_KEY = {control.key: control for control in CONTROLS}
KEYS = (*BY_KEY, "seed", "at")


def options_of(control: Control) -> tuple[str, ...]:
    """What can be chosen now: no more experts for a token than there are, no shift after the end."""
    if control.key == "K":
        return tuple(o for o in control.options if int(o) <= int(st.session_state["N"]))
    if control.key in ("shift", "wait"):
        return tuple(o for o in control.options if int(o) < int(st.session_state["S"]))
    return control.options


def settle() -> None:
    """Read the address, fall back where it cannot be followed, and say so."""
    # N and S first: what K, shift and wait may be depends on them.
    ordered = sorted(CONTROLS, key=lambda control: control.key not in ("N", "S"))
    widgets.settle(ordered, options_of)
    widgets.settle_seed("seed")
    last = int(chosen("S")) - 1
    urls.settle_number(
        "at",
        0,
        last,
        last,
        lambda text: f"The link names step {text}; the steps are 0 to {last}. The last one is shown.",
    )
    urls.show_notices(*KEYS)


def values() -> dict[str, str]:
    """Every control's value, and the seed."""
    return {key: chosen(key) for key in (*BY_KEY, "seed")}


def score_settings() -> ScoreSettings:
    """What the controls say of the scores."""
    return scores_of(values())


def rule_settings(side: str) -> RuleSettings:
    """What the controls say of rule A or B."""
    return rule_of(values(), side)


def scores_of(values: Mapping[str, str]) -> ScoreSettings:
    """The scores that these values of the controls stand for."""
    domain_skew = float(values["domains"])
    return ScoreSettings(
        num_experts=int(values["N"]),
        top_k=int(values["K"]),
        num_tokens=int(values["T"]),
        score_function=values["gate"],
        source=values["tok"],
        skew=float(values["skew"]),
        domains=4 if domain_skew else 1,
        domain_skew=domain_skew,
        sequence_tokens=64 if domain_skew else 1,
        drift=float(values["drift"]),
        shift_step=int(values["shift"]),
        feedback=float(values["rich"]),
        seed=int(values["seed"]),
    )


def rule_of(values: Mapping[str, str], side: str) -> RuleSettings:
    """The rule A or B that these values stand for."""
    return RuleSettings(
        rule=values[side],
        rate=float(values[f"u{side}"]),
        step_decay=values[f"n{side}"],
        start_step=int(values["wait"]),
    )


def rule_label(rule: RuleSettings) -> str:
    """A short name: `sign u=0.001`, `proportional u=0.3/√n`."""
    name = RULE_NAMES[rule.rule]
    if rule.rule == "none":
        return name
    return f"{name} u={rule.rate:g}{STEP_SIZES[rule.step_decay].removeprefix('u')}"
