"""Presets of the Playground, good and deliberately bad ones, each with a comment of one or two sentences."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer.figures.views.choice import defaults
from explorer.figures.views.playground_choices import BY_KEY, CHOICES
from explorer.figures.views.rule_change import KEYS as CHANGES
from explorer.ui.playground import parts
from explorer.ui.shared import state

KEY = "situation"
COMMENT = "situation_comment"
"""Key of the place of the comment."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What differs from the defaults."""

    name: str
    comment: str
    values: Mapping[str, str]


PRESETS = (
    Preset(
        name="Sign or proportional",
        comment="The sign rule moves every bias by the same amount, however large the load error, so it "
        "needs about (bias spread) / 2u steps; the proportional rule takes large steps while the "
        "error is large.",
        values={},
    ),
    Preset(
        name="u too small",
        comment="A tenth of the paper's rate of 0.001: the biases are still growing when the simulation "
        "ends, and the loads stay uneven.",
        values={"A": "sign", "uA": "1e-4", "B": "sign", "uB": "1e-3"},
    ),
    Preset(
        name="u right",
        comment="The rate of the paper, 0.001: slow at first, then down to the random-routing baseline.",
        values={"A": "sign", "uA": "1e-3", "B": "none"},
    ),
    Preset(
        name="u too large",
        comment="Twenty times the paper's rate of 0.001: quick, but most updates reverse the previous one, "
        "so loads keep oscillating.",
        values={"A": "sign", "uA": "2e-2", "B": "sign", "uB": "1e-3", "T": "2048"},
    ),
    Preset(
        name="Proportional too large",
        comment="A proportional step of 0.2 corrects more than the whole error, so loads overshoot from "
        "step to step and stay uneven; with 0.01 the same rule converges.",
        values={"A": "proportional", "uA": "2e-1", "B": "proportional", "uB": "1e-2"},
    ),
    Preset(
        name="Softmax, u too large",
        comment="Softmax scores are of the order of 1/N, so a sign step of 0.01 is huge in comparison: it "
        "never comes near balance. A proportional step of 0.001 does, after some 200 steps.",
        values={"A": "sign", "uA": "1e-2", "B": "proportional", "uB": "1e-3", "gate": "softmax"},
    ),
    Preset(
        name="Limit cycle",
        comment="With the same tokens in every step nothing is random, yet a constant sign step still ends "
        "in a limit cycle as wide as the step; a proportional step converges.",
        values={
            "A": "sign",
            "uA": "1e-2",
            "B": "proportional",
            "uB": "1e-2",
            "tok": "frozen",
            "S": "200",
            "N": "8",
            "K": "1",
        },
    ),
    Preset(
        name="Quantile",
        comment="The quantile rule reads the scores and sets the bias that would have balanced this very "
        "step: there is no rate to tune, and it needs a few steps where the sign rule needs "
        "hundreds. With ρ = 1 it has no memory and also follows the sampling noise of each step.",
        values={"A": "sign", "uA": "1e-3", "B": "quantile", "uB": "1", "skew": "1.5"},
    ),
    Preset(
        name="SMEBU",
        comment="The same rate, 0.02, in both. The sign rule moves every bias by all of it in every step and "
        "keeps oscillating; SMEBU moves them by less and less near balance and averages its moves, so the "
        "loads come to the random-routing baseline and stay there.",
        values={"A": "sign", "uA": "2e-2", "B": "smebu", "uB": "2e-2", "T": "2048"},
    ),
    Preset(
        name="Sudden shift",
        comment="Expert popularity is redrawn half-way, as after a change of corpus: the sign rule has to "
        "travel the whole distance again at the same rate.",
        values={"shift": "500"},
    ),
    Preset(
        name="Drift",
        comment="The scores keep drifting and so do the biases that would balance them: a shrinking step "
        "falls behind, a constant one follows.",
        values={
            "A": "proportional",
            "uA": "1e-2",
            "B": "proportional",
            "uB": "1",
            "nB": "harmonic",
            "drift": "0.25",
        },
    ),
    Preset(
        name="Collapse",
        comment="An expert that receives tokens improves and receives more: without balancing a few experts "
        "receive everything; the bias rule prevents this.",
        values={"A": "none", "B": "sign", "uB": "5e-3", "rich": "0.01", "skew": "0.25"},
    ),
    Preset(
        name="Rescue",
        comment="The same collapse, with balancing from step 250 on: do the loads recover?",
        values={"A": "sign", "uA": "1e-2", "B": "proportional", "uB": "2e-2", "rich": "0.002", "wait": "250"},
    ),
    Preset(
        name="No balancing, then loss-free",
        comment="A has no balancing for 400 steps, in which popular experts grow more popular; then the "
        "sign rule is switched on. It balances the loads, but takes several times as many steps as "
        "in B, where it acts from the start.",
        values={
            "A": "none",
            "swA": "400.sign.1e-3",
            "B": "sign",
            "uB": "1e-3",
            "rich": "0.002",
            "skew": "0.25",
        },
    ),
    Preset(
        name="Auxiliary loss",
        comment="The auxiliary loss changes the scores, the bias only the selection. Nothing opposes the "
        "loss here: its cost in language loss needs a real model; see Compare.",
        values={"A": "aux_loss", "uA": "5e-1", "B": "sign", "uB": "2e-3"},
    ),
)
OWN = "Your own settings. The address of this page holds all of them: share it to show the same."
BY_NAME = {preset.name: preset for preset in PRESETS}


def values_of(preset: Preset) -> dict[str, str]:
    """The value of every setting and of the changes of rules."""
    return defaults(CHOICES) | dict.fromkeys(CHANGES.values(), "") | dict(preset.values)


def current() -> Preset | None:
    """The preset that equals the current settings, if any; the seed does not matter."""
    now = state.values((*BY_KEY, *CHANGES.values()))
    return next((preset for preset in PRESETS if values_of(preset) == now), None)


@st.fragment(key=parts.SITUATION)
def choose() -> None:
    """The row of presets and the comment of the selected one."""
    preset = current()
    state.put(KEY, preset.name if preset else None)
    st.pills("Situations", list(BY_NAME), key=KEY, on_change=_apply, label_visibility="collapsed")
    with st.container(key=COMMENT):
        st.markdown(preset.comment if preset else OWN)


def _apply() -> None:
    """Put the values of the chosen preset into the controls."""
    name = state.value(KEY)
    if name is None:
        return
    values = values_of(BY_NAME[name])
    state.put_all({**values, "at": int(values["S"]) - 1})
    parts.draw_all()
