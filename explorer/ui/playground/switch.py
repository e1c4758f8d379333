"""The control that gives a side of the Playground a second rule from some step on.

A text field holds the parameter (see `figures.views.rule_change`) and keeps the address; the button beside it
only writes into that field.
"""

from typing import Any

import streamlit as st

from explorer.figures.simulation import RATE_SYMBOLS, RULE_NAMES, STEP_SIZES, rule_label
from explorer.figures.views.choice import RATES
from explorer.figures.views.playground_choices import RULES
from explorer.figures.views.rule_change import DEFAULT_RATE, KEYS, RuleChange, parse, rule_of
from explorer.ui.playground import parts
from explorer.ui.shared import show, state, urls


def read_address() -> None:
    """Read the address once per visit of the page.

    A value that does not fit stays in its field, and a sentence says why it has no effect.
    """
    steps = state.number("S")
    for key in KEYS.values():
        if urls.is_fresh(key) or not state.has(key):
            texts = urls.values_of(key)
            state.put(key, texts[-1] if texts else "")
        text = str(state.value(key) or "")
        state.put(key, text)
        if text and parse(text, steps) is None:
            sentence = (
                f"The link asks for {key} = {urls.quoted(text)}; {rule_of(steps)}. "
                "The first rule is used for all steps."
            )
            st.warning(show.plain(sentence), icon=":material/link_off:")


def _change_of(side: str) -> RuleChange | None:
    """The change that the field of this side holds now."""
    return parse(str(state.value(KEYS[side]) or ""), state.number("S"))


def control(side: str) -> None:
    """The change of this side with a button to remove it, and the form that makes one."""
    change = _change_of(side)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"controls_{KEYS[side]}"
    ):
        with st.popover(f"Switch {side} at a step", icon=":material/swap_horiz:"):
            st.fragment(_form, key=parts.FORMS[side])(side)
        if change:
            label = rule_label(change.settings(0))
            st.markdown(show.plain(f"from {change.step:,} {label}"), width="content")
            st.button("Remove", key=f"{KEYS[side]}_remove", on_click=_set, args=(side, ""), type="tertiary")


def _form(side: str) -> None:
    """Step, rule and rate; the step is that of the playhead unless that is an end."""
    key, last = KEYS[side], state.number("S") - 1
    _, rate, decay = RULES[side]
    at = state.number("at")
    start = at if 0 < at < last else (last + 1) * 2 // 5
    # Its key has the playhead in it, so that it follows when that moves.
    st.number_input(
        "From step", 1, last, start, key=f"{key}_step_{last}_{at}",
        help="The playhead, unless it is at either end. Its slider is above the expert loads.",
    )  # fmt: skip
    settings: dict[str, Any] = {"index": list(RULE_NAMES).index("sign")}
    st.selectbox("Rule", list(RULE_NAMES), key=f"{key}_rule", format_func=RULE_NAMES.__getitem__, **settings)
    symbol = RATE_SYMBOLS.get(state.text(f"{key}_rule"), "u")
    st.select_slider(f"Rate {symbol}", RATES, DEFAULT_RATE, key=f"{key}_rate", format_func=rate.text_of)
    st.selectbox("Step size", list(STEP_SIZES), key=f"{key}_decay", format_func=decay.text_of)
    st.button(
        f"Switch rule {side}",
        key=f"{key}_set",
        type="primary",
        on_click=_take,
        args=(side, f"{key}_step_{last}_{at}"),
    )
    st.text_input(
        "As in the address",
        key=key,
        bind="query-params",
        on_change=parts.draw_all,
        placeholder="400.sign.1e-3",
        help="Step, rule, rate and, unless constant, the step size. Empty: one rule for all steps. SMEBU has "
        "its default constants here.",
    )


def _take(side: str, step_key: str) -> None:
    key = KEYS[side]
    change = RuleChange(
        step=state.number(step_key),
        rule=state.text(f"{key}_rule"),
        rate=state.text(f"{key}_rate"),
        decay=state.text(f"{key}_decay"),
    )
    _set(side, str(change))


def _set(side: str, text: str) -> None:
    state.put(KEYS[side], text)
    parts.draw_all()
