"""The Compare page: the same questions about every selected arm."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from explorer.figures import biases, confounders, events, final, loads, quality
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.panel import Panel, Question
from explorer.figures.views import compare
from explorer.metrics.glossary import tip
from explorer.queries import events as event_queries
from explorer.ui.compare import agreement, controls, counterfactual, heatmaps, mechanism, sections
from explorer.ui.components.text_table import text_table
from explorer.ui.shared import count_notes, import_report, layers, links, panels, show, store


def view(selected: Sequence[Arm], runs: Sequence[Run]) -> None:
    """Every section, for up to six arms; runs: all that the index knows."""
    panels.bind(*compare.KEYS)
    arms = ArmSet.of(selected)
    controls.read_address(arms)
    _warnings(arms)
    for sentence in confounders.routing_notes(arms):
        show.note(sentence)
    for run in arms.runs:
        import_report.of_run(run, run.label if len(arms.runs) > 1 else "")
    sections.index(with_layers=bool(len(arms.with_loads())))
    _final_metrics(arms)
    _events(arms)
    with show.steady("compare"):
        by_layer(arms)
        over_time(arms)
    paired_differences(arms)
    plane(arms, runs)
    mechanism.gradients(arms)
    mechanism.margins(arms)
    mechanism.churn(arms)
    agreement.section(arms)
    counterfactual.section(arms)


def _warnings(arms: ArmSet) -> None:
    """What differs besides the balancing rule."""
    if len(arms) == 1:
        st.info("Only one run is selected; add another in the picker to compare.", icon=":material/add:")
    for sentence in confounders.confounders(arms):
        st.warning(show.plain(sentence), icon=":material/balance:")
    count_notes.show_notes([(f"“{_one_run(arms, arm, run)}”", run) for arm in arms for run in arm.runs])


def _one_run(arms: ArmSet, arm: Arm, run: Run) -> str:
    return f"{arms.label(arm)}, seed {run.seed}" if arm.is_group else arms.label(arm)


def _final_metrics(arms: ArmSet) -> None:
    """Metrics at the end of training, the worst layer beside every average."""
    sections.heading("metrics")
    text_table(
        pl.DataFrame(final.table(store.STORE, arms)),
        alt="Final metrics of the compared runs",
        key="compare_metrics",
        tips={name: tip(key) for name, key in final.COLUMNS.items()},
        stacks=True,
    )
    if any(arm.is_group for arm in arms):
        show.note(
            "Means over seeds; ± is the half width of the 95 % t interval. The worst layer is that of each "
            "run, so its MaxVio is a mean over seeds as well."
        )


def _events(arms: ArmSet) -> None:
    """The events of every arm, one sentence per arm."""
    counts = store.ask(event_queries.event_counts, arms.runs)
    sections.heading("events", "events")
    lines = [
        f"- {show.plain(arms.names[arm.token])}: {show.plain(events.arm_sentence(arm, counts))}."
        for arm in arms
    ]
    st.markdown("\n".join(lines))
    show.note(events.RULES)


@st.fragment
def by_layer(arms: ArmSet) -> None:
    """Loads and biases of one layer."""
    if not len(arms.with_loads()):
        show.note("None of these runs has loads, so there are no heatmaps and no biases to show.")
        return
    sections.heading("loads", "load_colours")
    controls.layer_control(arms)
    settings = controls.settings(arms)
    with_layer, at_layer = arms.with_layer(settings.layer), compare.at_layer(settings)
    # Notes that only some layers have are in containers: one element more or less before a chart changes its
    # position, and the browser draws it anew.
    with st.container():
        layers.show_names(arms.runs, settings.layer)
        for sentence in loads.without_layer(arms, settings.layer):
            show.note(sentence)
    questions = compare.heatmaps(arms, settings)
    # Named here too: a lecture hides the control.
    sentence = loads.busiest_experts(store.STORE, with_layer, at_layer)
    st.markdown(show.plain(f"Layer {settings.layer}. {sentence}"))
    kinds = loads.event_kinds(store.STORE, with_layer, at_layer)
    for cell, question in zip(show.in_columns(len(questions)), questions, strict=True):
        with cell:
            _open_in_replay(question, heatmaps.heatmap(question, marked=bool(kinds)))
    show.load_legend()
    with st.container():
        if kinds:
            show.note(f"Marks above: {events.legend(kinds)}.")
    show.note(f"{loads.rows_how(with_layer, settings.layer)} Click a cell to open its step in Replay.")
    sections.heading("biases", "expert_bias")
    trajectories = compare.trajectories(arms, settings)
    with_biases = [question for question in trajectories if isinstance(store.answer(question), Panel)]
    if not with_biases:
        show.note(biases.no_biases(arms))
    for cell, question in zip(show.in_columns(len(with_biases)), with_biases, strict=True):
        with cell:
            _open_in_replay(question, show.question(question, stays=True, pick=True))


def _open_in_replay(question: Question, picked: Mapping[str, Any] | None) -> None:
    """A link to the cell or point that was clicked."""
    if picked is None:
        return
    (arm,), layer = question.arms, question.settings.layer
    step, expert = round(picked.get("first_step", picked.get("x", 0))), int(picked["expert"])
    links.page(
        "replay",
        f"Open expert {expert} at step {step:,} in Replay",
        run=arm.first.run_id,
        layer=layer,
        expert=expert,
        step=step,
    )


@st.fragment(key=controls.OVER_TIME)
def over_time(arms: ArmSet) -> None:
    """MaxVio and perplexity over steps, tokens or time."""
    sections.heading("max-vio", "max_vio")
    controls.x_control()
    show.question(compare.max_vio(arms, controls.settings(arms)))
    sections.heading("perplexity", "perplexity")
    controls.part_control()
    show.question(compare.perplexity(arms, controls.settings(arms)))


@st.fragment(key=sections.fragment_of("plane"))
def plane(arms: ArmSet, runs: Sequence[Run]) -> None:
    """Perplexity against imbalance, over the selected runs and the shipped ones of the same experiment."""
    sections.heading("plane", "dilemma_plane")
    question = compare.plane(arms, runs)
    place = sections.body_if_open(
        "plane", "Show perplexity against MaxVio of these and the shipped runs", [question]
    )
    if place:
        with place:
            show.question(question)


@st.fragment
def paired_differences(arms: ArmSet) -> None:
    """Differences between arms, seed by seed; never between an expert of one run and one of another."""
    sections.heading("differences", "paired_interval")
    if len(arms) < 2:
        show.note("A difference needs two runs.")
        return
    controls.paired_controls(arms)
    question = compare.paired(arms, controls.settings(arms))
    show.question(question)
    note = quality.resolution_note(store.STORE, arms, question.settings)
    if note:
        show.note(note)
