"""Situations worth seeing, good ones and deliberately bad ones, each with one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer.figures.views.playground_choices import BY_KEY
from explorer.figures.views.rule_change import KEYS as CHANGES

KEY = "situation"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What differs from the defaults."""

    name: str
    comment: str
    values: Mapping[str, str]


PRESETS = (
    Preset(
        name="Sign or proportional",
        comment="The sign rule moves every expert equally far however wrong its load is, so it needs about "
        "(bias spread) / 2u steps; the proportional rule takes large steps while the error is large.",
        values={},
    ),
    Preset(
        name="u too small",
        comment="A tenth of the usual rate: the bias is on its way for the whole simulation, and the work "
        "stays uneven all that time.",
        values={"A": "sign", "uA": "1e-4", "B": "sign", "uB": "1e-3"},
    ),
    Preset(
        name="u right",
        comment="The rate of the paper, 0.001: slow at first, then as even as random routing would be.",
        values={"A": "sign", "uA": "1e-3", "B": "none"},
    ),
    Preset(
        name="u too large",
        comment="Twenty times the usual rate: quick, but most moves undo the one before: loads never rest.",
        values={"A": "sign", "uA": "2e-2", "B": "sign", "uB": "1e-3", "T": "2048"},
    ),
    Preset(
        name="Proportional too large",
        comment="A proportional step of 0.2 corrects more than the whole error, so the loads are thrown from "
        "side to side and get worse than they need to be; with 0.01 the same rule comes to rest.",
        values={"A": "proportional", "uA": "2e-1", "B": "proportional", "uB": "1e-2"},
    ),
    Preset(
        name="Softmax, u too large",
        comment="Softmax scores are of the order of 1/N, so a sign step of 0.01 is huge for them: it never "
        "comes near balance. A proportional step of 0.001 does, after some 200 steps.",
        values={"A": "sign", "uA": "1e-2", "B": "proportional", "uB": "1e-3", "gate": "softmax"},
    ),
    Preset(
        name="Limit cycle",
        comment="The same tokens in every step leave nothing to chance, and still a constant sign step ends "
        "in a cycle as wide as itself; a proportional step comes to rest.",
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
        comment="The quantile rule looks at the scores and sets the bias that would have balanced this very "
        "step: no rate to choose, and a few steps do what takes the sign rule hundreds. Without a "
        "memory (u < 1) it follows the chance in each step's tokens, too.",
        values={"A": "sign", "uA": "1e-3", "B": "quantile", "uB": "1", "skew": "1.5"},
    ),
    Preset(
        name="Sudden shift",
        comment="The experts' popularity is drawn anew half-way, as when the corpus changes: the sign rule "
        "walks the whole way again at the same pace.",
        values={"shift": "500"},
    ),
    Preset(
        name="Drift",
        comment="The scores keep moving and the target of the bias with them: a decreasing step falls "
        "behind, a constant one follows.",
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
        comment="An expert that is chosen gets better and is chosen more: left alone a few take "
        "everything; the bias rule holds against it.",
        values={"A": "none", "B": "sign", "uB": "5e-3", "rich": "0.01", "skew": "0.25"},
    ),
    Preset(
        name="Rescue",
        comment="The same collapse, and after 250 steps the rules begin: can it be brought back?",
        values={"A": "sign", "uA": "1e-2", "B": "proportional", "uB": "2e-2", "rich": "0.002", "wait": "250"},
    ),
    Preset(
        name="No balancing, then loss-free",
        comment="A is left alone for 400 steps, in which popular experts grow more popular; then the sign "
        "rule is switched on. It brings the experts level, but it has several times as far to go as in B, "
        "where it began at once.",
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
        comment="The auxiliary loss changes the scores, the bias only the choice. Nothing resists the loss "
        "here: its price, in language loss, needs a real model; see Compare.",
        values={"A": "aux_loss", "uA": "5e-1", "B": "sign", "uB": "2e-3"},
    ),
)
BY_NAME = {preset.name: preset for preset in PRESETS}


def values_of(preset: Preset) -> dict[str, str]:
    """The value of every setting and of the changes of rules."""
    defaults = {key: choice.default for key, choice in BY_KEY.items()}
    return defaults | dict.fromkeys(CHANGES.values(), "") | dict(preset.values)


def current() -> Preset | None:
    """The preset that the controls show now, if any; the seed does not matter."""
    now = {key: str(st.session_state[key]) for key in (*BY_KEY, *CHANGES.values())}
    return next((preset for preset in PRESETS if values_of(preset) == now), None)


def choose() -> None:
    """The row of presets and the sentence of the chosen one."""
    preset = current()
    st.session_state[KEY] = preset.name if preset else None
    st.pills("Situations", list(BY_NAME), key=KEY, on_change=_apply, label_visibility="collapsed")
    if preset:
        st.markdown(preset.comment)
    else:
        st.markdown(
            "Your own setting. The address of this page holds all of it: send it, and it opens the same."
        )


def _apply() -> None:
    """Put the values of the chosen preset into the controls."""
    name = st.session_state[KEY]
    if name is None:
        return
    wanted = values_of(BY_NAME[name])
    for key in ("N", "S", *wanted):
        st.session_state[key] = wanted[key]
    st.session_state["at"] = int(wanted["S"]) - 1
