"""The run picker that all pages share, in the sidebar."""

import streamlit as st

from explorer.ui import cached, urls
from explorer.ui.arms import MOST, Arm, Run, arms_of, default_arms

KEY = "runs"
STATE = "shell"


def run_picker() -> None:
    """Draw the picker and keep what was chosen for the page of this run."""
    runs = cached.list_runs()
    arms = arms_of(runs)
    by_token = {arm.token: arm for arm in arms}
    _check_url(by_token)
    default = [arm.token for arm in default_arms(arms)]
    if KEY in st.session_state:
        # A run that was deleted meanwhile must not break the widget.
        st.session_state[KEY] = [token for token in st.session_state[KEY] if token in by_token]
    with st.sidebar:
        chosen = st.multiselect(
            "Runs to compare",
            options=list(by_token),
            default=None if KEY in st.session_state else default,
            key=KEY,
            bind="query-params",
            max_selections=MOST,
            placeholder="Choose up to six" if arms else "No runs yet",
            disabled=not arms,
            help="An entry with a preset and a rule stands for all of its seeds; the others are single runs.",
        )
    st.session_state[STATE] = (runs, arms, [by_token[token] for token in chosen if token in by_token])


def _check_url(known: dict[str, Arm]) -> None:
    unknown = [token for token in urls.asked(KEY) if token and token not in known]
    if unknown:
        names = ", ".join(f"“{token}”" for token in unknown)
        urls.notice(
            f"The link names runs that are not here: {names}. The others, or the usual choice, are shown."
        )


def all_runs() -> list[Run]:
    """Every run that the index knows, unreadable ones included."""
    runs: list[Run] = st.session_state[STATE][0]
    return runs


def all_arms() -> list[Arm]:
    arms: list[Arm] = st.session_state[STATE][1]
    return arms


def chosen_arms() -> list[Arm]:
    """What the visitor wants to compare, in the order of choosing."""
    arms: list[Arm] = st.session_state[STATE][2]
    return arms
