"""The list of rules to train: it shows the names used in legends, and a visitor may type other rules."""

import streamlit as st

from explorer.config.routings import KINDS
from explorer.ui.shared import state
from explorer.ui.train.labels import distinct, rule_labels

KEY = "train_arms"
COMMON = ("none", "aux_loss", "aux_loss:scope=sequence", "loss_free", "loss_free+seq_aux",
          *(name for name in KINDS if name != "token_choice"))  # fmt: skip
FIRST = ("none", "aux_loss", "loss_free")
HELP = (
    "One run per rule and seed. Type your own, e.g. `aux_loss:scope=sequence,coeff=0.001` or "
    "`none/100/loss_free` (no balancing, from step 100 loss-free), or build one below. A routing such as "
    "`expert_choice:chunk=128` or `dense` may replace a rule."
)
SHOWN = state.Slot[dict[str, str]]("train_rules_shown", {})
"""Rule -> the name that the list showed last."""
RULE_OF = state.Slot[dict[str, str]]("train_rule_of_name", {})
"""Every name that the list has shown -> its rule."""


def selected_rules(preset: str) -> list[str]:
    """Draw the list; returns the selected rules in their text form."""
    if not state.has(KEY):
        state.put(KEY, list(FIRST))
    value: list[str] = state.value(KEY)
    # The browser sends the names that it shows, which differ between presets.
    rules = list(dict.fromkeys(RULE_OF.get().get(name, name) for name in value))
    offered = distinct(preset, list(dict.fromkeys((*COMMON, *rules))), keep=rules)
    names = rule_labels(preset, offered)
    if rules != value or any(names[rule] != SHOWN.get().get(rule, names[rule]) for rule in rules):
        state.put(KEY, rules)
    SHOWN.put(names)
    RULE_OF.put(RULE_OF.get() | {name: rule for rule, name in names.items()})
    return st.multiselect(
        "Balancing rules to train",
        offered,
        key=KEY,
        accept_new_options=True,
        format_func=lambda rule: names.get(rule, rule),
        help=HELP,
    )


def add(rule: str) -> None:
    """Select one more rule, from a callback."""
    rules: list[str] = state.value(KEY)
    if rule not in rules:
        state.put(KEY, [*rules, rule])
