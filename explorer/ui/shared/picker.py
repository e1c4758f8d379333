"""The selection of runs that all pages share, and its picker in the sidebar of the pages that draw it."""

import re
from html import escape

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import MOST, Arm, Run, arms_of, chart_labels, default_arms
from explorer.figures.views.selection import RUNS, complaint, entry, picker_names
from explorer.ui.shared import cached, marks, state, urls

KEY = RUNS
PAGES = ("compare", "microscope")
"""Paths of the pages that draw the selected runs. The others show one run, or runs that a page chooses."""
STATE = state.Slot[tuple[list[Run], list[Arm], list[Arm]]]("shell", ([], [], []))
"""The runs, the entries of the picker, and the selected ones of this run of the page."""
AUTOMATIC = state.Slot[list[str] | None]("runs_automatic", None)
"""The default selection; until the visitor changes it, it follows newly recorded runs."""


def run_picker(page: str) -> None:
    """Keep what was chosen for the page of this script run, and draw the picker where the page uses it and
    there is something to choose.

    page: its path. An address with `runs=` counts on every page: the selection waits for the next one.
    """
    runs = cached.list_runs()
    arms = arms_of(runs)
    by_token = {arm.token: arm for arm in arms}
    notice = _prepare(by_token, [arm.token for arm in default_arms(arms)])
    tokens: list[str] = _draw(arms) if arms and page in PAGES else state.value(KEY)
    if notice:
        urls.notice(KEY, notice)
    STATE.put((runs, arms, [by_token[token] for token in tokens if token in by_token]))


def _draw(arms: list[Arm]) -> list[str]:
    """The picker and the legend of the selection; returns the selected tokens."""
    by_token = {arm.token: arm for arm in arms}
    with st.sidebar:
        tokens = urls.labelled_multiselect(
            "Runs to compare",
            list(by_token),
            key=KEY,
            format_func=picker_names(arms).__getitem__,
            max_selections=MOST,
            placeholder="Choose up to six",
            help="An entry with a run id is a single run; the others cover all seeds of a rule. Type part of "
            "a name or run id to find an entry.",
        )
        arms_chosen = [by_token[token] for token in tokens if token in by_token]
        if arms_chosen:
            st.html(_legend(arms_chosen))
    return tokens


def _legend(arms: list[Arm]) -> str:
    """The chosen entries in the words of the figures' legends, each with the stroke of its lines."""
    labels = chart_labels(arms)
    strokes = marks.strokes(ArmSet.of(arms), dark=st.context.theme.type == "dark")
    rows = "".join(
        '<li style="margin:0 0 .45rem;padding-left:2.4rem;text-indent:-2.4rem;list-style:none">'
        f"{strokes[arm.token]}{escape(_unbroken(entry(arm, labels[arm.token])))}</li>"
        for arm in arms
    )
    return f'<ul style="margin:0;padding:0;font-size:.85rem">{rows}</ul>'


def _unbroken(text: str) -> str:
    """`5 seeds` and `seed 0` stay on one line."""
    return re.sub(r"(?<=\d) (?=seeds)|(?<=seed) (?=\d)", "\u00a0", text)


def _prepare(arms: dict[str, Arm], default: list[str]) -> str:
    """Put the choice into the session before the widget is made; returns what is wrong with the link."""
    named, current = _tokens_of_link()
    if not state.has(KEY) or (named and named != current):
        urls.accept(KEY)
        distinct = list(dict.fromkeys(token for token in named if token))
        fitting = [token for token in distinct if token in arms]
        state.put(KEY, fitting[:MOST] or default)
        AUTOMATIC.put(None if fitting else default)
        return complaint([urls.quoted(token) for token in distinct if token not in arms], len(fitting))
    if current == AUTOMATIC.get():
        current = default
        AUTOMATIC.put(default)
    # A run that was deleted meanwhile must not break the widget.
    state.put(KEY, [token for token in current if token in arms])
    return ""


def _tokens_of_link() -> tuple[list[str], list[str]]:
    """The selection in the address, and the current one.

    A link inside the app adds its runs to those that the address had already.
    """
    current: list[str] = state.value(KEY, [])
    named = urls.values_of(KEY) if urls.is_fresh(KEY) or not state.has(KEY) else []
    if current and named[: len(current)] == current and len(named) > len(current):
        named = named[len(current) :]
    return named, current


def all_runs() -> list[Run]:
    """Every run that the index knows, unreadable ones included."""
    return STATE.get()[0]


def all_arms() -> list[Arm]:
    """Every entry of the picker."""
    return STATE.get()[1]


def chosen_arms() -> list[Arm]:
    """The arms that the visitor has selected, in that order."""
    return STATE.get()[2]
