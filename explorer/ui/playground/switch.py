"""A second rule for a side of the playground: from some step on it takes the place of the first.

It is one short parameter a side, `swA=400.sign.1e-3` (step, rule, rate, and a step size that shrinks:
`.sqrt` or `.harmonic`), so the address repeats the simulation. A text field holds it and keeps the address;
the button beside it only writes into that field.
"""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.simulate import RuleSettings
from explorer.ui.playground import controls
from explorer.ui.shared import show, urls

KEYS = {side: f"sw{side}" for side in controls.SIDES}
DEFAULT_RATE = "1e-3"
NO_RATE = ("none",)
"""Rules for which there is nothing to set."""


@dataclass(frozen=True, kw_only=True)
class Later:
    """Another rule from a step on."""

    step: int
    rule: str
    rate: str = DEFAULT_RATE
    decay: str = "constant"

    def __str__(self) -> str:
        words = [str(self.step), self.rule]
        if self.rule not in NO_RATE:
            words += [self.rate] if self.decay == "constant" else [self.rate, self.decay]
        return ".".join(words)

    def settings(self, start: int) -> RuleSettings:
        """The rule, which waits for step `start` as every rule of the page does."""
        return RuleSettings(rule=self.rule, rate=float(self.rate), step_decay=self.decay, start_step=start)


def parse(text: str, steps: int) -> Later | None:
    """Read the parameter; None for a text that is no change of rule within `steps` steps."""
    step, _, rest = text.partition(".")
    rule, *numbers = rest.split(".")
    known = (controls.RATES, tuple(controls.STEP_SIZES))
    if not step.isdecimal() or not step.isascii() or len(step) > 6 or not 0 < int(step) < steps:
        return None
    if rule not in controls.RULE_NAMES or len(numbers) > (0 if rule in NO_RATE else 2):
        return None
    if any(value not in options for value, options in zip(numbers, known, strict=False)):
        return None
    return Later(step=int(step), rule=rule, **dict(zip(("rate", "decay"), numbers, strict=False)))


def settle() -> None:
    """Read the address once for every arrival at the page. What cannot be followed stays in its field, and a
    sentence says why it does nothing."""
    steps = int(st.session_state["S"])
    for key in KEYS.values():
        if urls.is_fresh(key) or key not in st.session_state:
            wanted = urls.asked(key)
            st.session_state[key] = wanted[-1] if wanted else ""
        text = st.session_state[key] = str(st.session_state[key] or "")
        if text and parse(text, steps) is None:
            st.warning(show.plain(_complaint(key, urls.quoted(text), steps)), icon=":material/link_off:")


def _complaint(key: str, text: str, steps: int) -> str:
    rules = ", ".join(controls.RULE_NAMES)
    return (
        f"“{text}” for {key} cannot be followed: it must be a step from 1 to {steps - 1}, a point, a rule "
        f"({rules}) and, if you like, a rate of the list and a step size, such as 400.sign.1e-3. "
        "The rule stays the same all the time."
    )


def changes(side: str) -> tuple[tuple[int, RuleSettings], ...]:
    """What `simulate` takes."""
    change = _chosen(side)
    return ((change.step, change.settings(int(st.session_state["wait"]))),) if change else ()


def _chosen(side: str) -> Later | None:
    return parse(str(st.session_state[KEYS[side]] or ""), int(st.session_state["S"]))


def control(side: str) -> None:
    """The change of this side, or what makes one."""
    change = _chosen(side)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"controls_{KEYS[side]}"
    ):
        with st.popover(f"Switch {side} at a step", icon=":material/swap_horiz:"):
            _form(side)
        if change:
            label = controls.rule_label(change.settings(0))
            st.markdown(show.plain(f"from {change.step:,} {label}"), width="content")
            st.button("Remove", key=f"{KEYS[side]}_remove", on_click=_set, args=(side, ""), type="tertiary")


def _form(side: str) -> None:
    """Step, rule and rate; the step is that of the playhead where that is not the end."""
    key, last = KEYS[side], int(st.session_state["S"]) - 1
    at = int(st.session_state["at"])
    start = at if 0 < at < last else (last + 1) * 2 // 5
    # Its key has the playhead in it, so that it follows when that moves.
    st.number_input(
        "From step", 1, last, start, key=f"{key}_step_{last}_{at}",
        help="The playhead, unless that stands at an end. Move it at the loads below.",
    )  # fmt: skip
    settings: dict[str, Any] = {"index": list(controls.RULE_NAMES).index("sign")}
    st.selectbox("Rule", list(controls.RULE_NAMES), key=f"{key}_rule", **settings)
    st.select_slider("Rate u", controls.RATES, DEFAULT_RATE, key=f"{key}_rate")
    st.selectbox("Step size", list(controls.STEP_SIZES), key=f"{key}_decay")
    st.button(
        f"Switch rule {side}",
        key=f"{key}_set",
        type="primary",
        on_click=_take,
        args=(side, f"{key}_step_{last}_{at}"),
    )
    st.text_input(
        "In short, as the address has it",
        key=key,
        bind="query-params",
        placeholder="400.sign.1e-3",
        help="Step, rule, rate and, where it is not constant, the step size; empty: one rule all the time.",
    )


def _take(side: str, step_key: str) -> None:
    key, state = KEYS[side], st.session_state
    change = Later(
        step=int(state[step_key]),
        rule=str(state[f"{key}_rule"]),
        rate=str(state[f"{key}_rate"]),
        decay=str(state[f"{key}_decay"]),
    )
    _set(side, str(change))


def _set(side: str, text: str) -> None:
    st.session_state[KEYS[side]] = text
