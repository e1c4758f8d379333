"""Named experiments on the Train page: selecting one fills the form, and its comment says what to expect."""

from functools import partial
from typing import Any

import streamlit as st

from explorer.course.experiments import Experiment
from explorer.course.facts import filled
from explorer.errors import ExplorerError
from explorer.figures import course
from explorer.figures.facts import catalogue
from explorer.ui.shared import show, state
from explorer.ui.shared.recorded_runs import recorded_runs

KEY = "experiment"
OWN = "Your own configuration"
MARKS = {
    "good": ":green-badge[:material/thumb_up: worth copying]",
    "bad": ":orange-badge[:material/warning: deliberately bad]",
    "open": ":gray-badge[:material/help: not decided]",
}


def choose(arms_key: str) -> None:
    """The list of experiments, and the comment of the chosen one. `arms_key`: session key of the rules."""
    experiments, problems = course.experiments()
    for sentence in problems:
        st.warning(show.plain(sentence), icon=":material/draft:")
    by_title = {experiment.title: experiment for experiment in experiments}
    if not by_title:
        return
    title = st.selectbox(
        "Experiment",
        [OWN, *by_title],
        key=KEY,
        on_change=_fill,
        args=(arms_key,),
        help="Fills the form below with an instructive configuration, good or deliberately bad. Every field "
        "can still be changed.",
    )
    selected = by_title.get(title)
    if selected is None:
        return
    changed = "" if _is_unchanged(selected, arms_key) else " :gray[:small[You have changed the form since.]]"
    st.markdown(f"{MARKS[selected.verdict]} {comment(selected)}{changed}")


def comment(experiment: Experiment) -> str:
    """The comment with its numbers; without them where the runs are not here."""
    try:
        return filled(experiment.comment, partial(catalogue.value_of, recorded_runs()))
    except ExplorerError as error:
        return f":gray[The numbers of this comment are unavailable: {show.plain(str(error))}]"


def _values_of(experiment: Experiment, arms_key: str) -> dict[str, Any]:
    """Session key of a widget -> the value that the experiment gives it."""
    fields = {f"train_{experiment.preset}_{path}": value for path, value in experiment.settings.items()}
    return {
        "preset": experiment.preset,
        arms_key: list(experiment.arms),
        "train_seeds": experiment.seeds,
        **fields,
    }


def _is_unchanged(experiment: Experiment, arms_key: str) -> bool:
    """Whether the form still holds the order; a widget that was never drawn counts as it gives it."""
    return all(state.value(key, value) == value for key, value in _values_of(experiment, arms_key).items())


def _fill(arms_key: str) -> None:
    """Put the chosen experiment into the form; other fields of its preset go back to the preset's values."""
    experiments, _ = course.experiments()
    experiment = next((e for e in experiments if e.title == state.value(KEY)), None)
    if experiment is None:
        return
    state.forget_all(f"train_{experiment.preset}_")
    state.put_all(_values_of(experiment, arms_key))
