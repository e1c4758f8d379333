"""The controls and panels of a comparison of two routings; Compare and the Microscope show them."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer.figures.panel import Missing, Question
from explorer.figures.two_routings import BIASES
from explorer.figures.views.agreement_choice import Offer, rule_of
from explorer.figures.views.selection import run_names
from explorer.ui.shared import show, state, store, urls

LABELS = {
    "first": "First routing",
    "first_probe": "Its probe, after updates",
    "second": "Second routing",
    "second_probe": "Its probe, after updates",
    "second_bias": "Bias of the second",
}
BIAS_HELP = (
    "As recorded; or recomputed from the recorded scores, with the bias rounded to bfloat16 or float16, or "
    "left out."
)
PAIRS = (
    "Pairs to compare: rollout against training, or engine against engine (imported traces of the same "
    "tokens); checkpoint against checkpoint (two probes of one run); a bias in bf16 against the recorded one "
    "in fp32; two rules or seeds."
)
TITLES = {
    "layers": "Shared assignments by layer",
    "tokens": "Tokens that differ by layer",
    "probes": "Over the probes",
    "swaps": "Swapped experts",
    "loads": "Loads of both",
}
OF_LAYER = ("swaps", "loads")
"""Panels of one MoE layer, which their finding does not name."""


def read_address(offer: Offer) -> dict[str, str]:
    """Give every control its value, before any of them is drawn; returns the values."""
    values: dict[str, str] = {}
    for key in offer.keys:
        options = offer.options(key, values)
        default = offer.default(key, values)
        urls.prepare_choice(
            key,
            options,
            default,
            lambda value, key=key, options=options, default=default: (  # type: ignore[misc]
                f"The link asks for {key} = {value}; {rule_of(options)}. {default} is used."
            ),
        )
        values[key] = state.text(key)
    return values


def controls(offer: Offer, values: Mapping[str, str]) -> None:
    """The list boxes; each depends on those before it."""
    show.note(PAIRS)
    urls.show_notices(*offer.keys)
    names = run_names(offer.runs)
    before: dict[str, str] = {}
    # One row per routing.
    rows = {name: st.container(horizontal=True, vertical_alignment="bottom") for name in ("first", "second")}
    for key in offer.keys:
        options = offer.options(key, before)
        before[key] = values[key]
        is_run = key in rows
        if len(options) == 1 and not is_run:
            continue
        settings: dict[str, Any] = {"width": 320 if is_run else 180}
        if is_run:
            settings["format_func"] = names.get
        if key == "second_bias":
            settings |= {"format_func": lambda name: BIASES[name] or "as recorded", "help": BIAS_HELP}
        with rows[key.partition("_")[0]]:
            urls.selectbox(LABELS[key], options, key=key, **settings)


def panels(questions: Mapping[str, Question]) -> None:
    """The panels in pairs; where nothing can be compared, the reason once."""
    answer = store.answer(questions["layers"])
    if isinstance(answer, Missing):
        show.note(answer.reason)
        return
    for names in (("layers", "tokens"), ("probes", "swaps"), ("loads",)):
        for cell, name in zip(show.in_columns(len(names)), names, strict=True):
            with cell:
                of_layer = f", layer {questions[name].settings.layer}" if name in OF_LAYER else ""
                st.markdown(f"### {TITLES[name]}{of_layer}")
                show.question(questions[name])
