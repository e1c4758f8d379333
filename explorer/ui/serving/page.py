"""The Serving page: its runs, the panels of their loads, and batch-aware selection.

Everything below the runs is one fragment, and its parts are fragments with keys (`parts`): a control draws
only the parts that read it, since every element that is drawn costs the browser time.
"""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.serving.windows import phase_of
from explorer.figures.views import serving as view
from explorer.figures.views import serving_choices as choices
from explorer.figures.views.selection import run_names
from explorer.metrics.glossary import tip
from explorer.ui.serving import batch, parts, verdict
from explorer.ui.shared import controls, layers, panels, show, state, urls
from explorer.ui.shared.folded import body_if_open
from explorer.ui.shared.store import STORE

HOT_SET = {
    "serving_coverage": "Coverage of the hot set",
    "serving_persistence": "Persistence of the hot set",
    "serving_levels": "Imbalance by level",
}
"""Panel of window A -> its heading."""
POPULARITY = "Show whether expert popularity is log-normal (Q–Q plot, Shapiro–Francia test)"
"""The line that opens this panel, which only readers who model popularity need."""
TERMS = {"serving_coverage": "hot_set"}
"""Panel -> its term in the Glossary."""


def show_runs(runs: Sequence[Run]) -> None:
    """The run, the run that judges, and everything about them."""
    panels.bind(*view.KEYS)
    left, right = st.columns(2, gap="medium")
    with left:
        run = _choose_run(runs)
    with right:
        judged = _choose_judge(run, runs)
    _panels(run, judged)


def _choose_run(runs: Sequence[Run]) -> Run:
    by_id = {run.run_id: run for run in runs}
    default = choices.first_run(runs).run_id
    urls.prepare_choice(
        "run",
        list(by_id),
        default,
        lambda value: f"The link names the run “{value}”, which cannot be shown here. {default} is shown.",
    )
    urls.show_notices("run")
    run = by_id[
        urls.selectbox(
            "Run (window A)",
            list(by_id),
            key="run",
            format_func=run_names(runs).__getitem__,
            help="Its window A plans the placement.",
        )
    ]
    show.note(_about(run))
    return run


def _about(run: Run) -> str:
    """Id, phase or rule, and sizes."""
    phase = phase_of(run)
    return f"{run.run_id} · {phase or run.label} · {run.sizes}"


def _choose_judge(run: Run, runs: Sequence[Run]) -> Run:
    by_id = {one.run_id: one for one in choices.judges_of(run, runs)}
    default = choices.default_judge(run, list(by_id.values())).run_id
    urls.prepare_choice(
        "judged",
        list(by_id),
        default,
        lambda value: (
            f"The link judges on the run “{value}”, which is not here or has other layers and experts. "
            f"{default} judges."
        ),
    )
    urls.show_notices("judged")
    judged = by_id[
        urls.selectbox(
            "Judged on (window B)",
            list(by_id),
            key="judged",
            format_func=run_names(list(by_id.values())).__getitem__,
            help="Its window B judges the placement: the same run later, or another run of the same shape.",
        )
    ]
    show.note(_about(judged) if judged != run else "the same run")
    return judged


@st.fragment(key=parts.ALL)
def _panels(run: Run, judged: Run) -> None:
    """Every control and panel below the runs; nothing else reruns when one of its controls moves."""
    offer = _read_address(run, judged)
    steps = view.probe_steps(STORE, run)
    _window_controls(run, offer, bool(steps))
    with show.steady("serving"):
        _hot_set(run, judged)
        verdict.section(run, judged, offer)
        verdict.by_gpu(run, judged)
    if steps:
        batch.section(run, offer, steps)
    else:
        batch.absent()


def _read_address(run: Run, judged: Run) -> choices.Options:
    """Give every setting of loads a value, and say where the address could not be followed."""
    windows = choices.WINDOWS
    controls.read_address((windows,), lambda choice, _: choice.options)
    options = view.options_of(STORE, run, judged, state.number("windows"))
    controls.read_address(options.choices(), options.of)
    layers.prepare(run.layers, "this run")
    urls.show_notices("layer", *choices.KEYS_OF_LOADS)
    return options


@st.fragment(key=parts.WINDOWS)
def _window_controls(run: Run, options: choices.Options, with_batches: bool) -> None:
    moved = partial(parts.draw_layer, with_batches=with_batches)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        layers.control(run.layers, moved)
        for choice in choices.SPLIT:
            if choice.key != "windows" or not options.is_snapshot:
                controls.draw(options.with_default(choice), options.of, parts.LEAST_PX, parts.draw_all)


@st.fragment(key=parts.HOT_SET)
def _hot_set(run: Run, judged: Run) -> None:
    questions = parts.questions(run, judged)
    layers.show_names([run], state.number("layer"))
    st.subheader("Expert load by window", help=tip("load"))
    show.load_legend()
    show.question(questions["serving_windows"], stays=True)
    for place, (key, heading) in zip(show.in_columns(len(HOT_SET), 3, 300), HOT_SET.items(), strict=True):
        with place:
            st.subheader(heading, help=tip(TERMS[key]) if key in TERMS else None)
            if key == "serving_levels":
                _levels(run, judged)
            else:
                show.question(questions[key], stays=True)
    popularity = questions["serving_popularity"]
    if section := body_if_open("popularity", POPULARITY, [popularity], fragment=parts.HOT_SET):
        with section:
            show.question(popularity, stays=True)


@st.fragment(key=parts.LEVELS)
def _levels(run: Run, judged: Run) -> None:
    """Of all layers, so that only the layout changes it."""
    show.question(parts.questions(run, judged)["serving_levels"], stays=True)
