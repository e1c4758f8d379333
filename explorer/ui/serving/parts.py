"""The parts of the Serving page that are drawn apart from each other, and which control draws which."""

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.panel import Question
from explorer.figures.views import serving as view
from explorer.figures.views import serving_choices as choices
from explorer.ui.shared import controls, state, urls

LEAST_PX = 160
"""Width of a control, at least: a phone has two beside each other."""
ALL = "serving_all"
"""Everything below the runs."""
WINDOWS, HOT_SET, LEVELS = "serving_windows", "serving_hot_set", "serving_levels"
LAYOUT, BY_GPU, BATCHES = "serving_layout", "serving_by_gpu", "serving_batches"
OF_LAYER = (WINDOWS, HOT_SET, BY_GPU)
OF_LAYOUT = (LAYOUT, LEVELS, BY_GPU)


def questions(run: Run, judged: Run) -> dict[str, Question]:
    """The panels of loads for what the widgets say."""
    settings = view.ServingSettings(
        run=run,
        judged=judged,
        loads=view.placement_settings(state.values(choices.KEYS_OF_LOADS)),
        layer=state.number("layer"),
        hot=state.number("hot"),
        batches=None,
    )
    return view.load_questions(settings)


def draw_all() -> None:
    """The end of a callback of a control that other controls depend on."""
    st.rerun(ALL)


def draw_layer(*, with_batches: bool) -> None:
    """The end of the callback of the layer; with_batches: whether the run has scores to select on."""
    _draw("layer", names=(*OF_LAYER, BATCHES) if with_batches else OF_LAYER)


def draw_layout(options: choices.Options) -> None:
    """The end of the callback of a control of the layout: what the others can be may follow from it."""
    keys = [choice.key for choice in choices.LAYOUT]
    controls.read_address([choice for choice in options.choices() if choice.key in keys], options.of)
    _draw(*keys, names=OF_LAYOUT)


def _draw(*keys: str, names: tuple[str, ...]) -> None:
    """These parts, or all while the page says something about these settings that may now be settled."""
    st.rerun(ALL if urls.has_notices(*keys) else list(names))
