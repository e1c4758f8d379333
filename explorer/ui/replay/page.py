"""The Replay page: one playhead, and every panel that follows it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.charts import event_marks, linking
from explorer.charts.full_heatmap import PLOTLY_CONFIG
from explorer.export import films
from explorer.figures import at_step, loads, losses
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.layer_names import layer_name
from explorer.figures.panel import Missing, Panel, Question
from explorer.figures.settings import OneLayer
from explorer.figures.views import replay as view
from explorer.figures.views.selection import default_run, run_names
from explorer.metrics.events import event_name
from explorer.metrics.glossary import tip
from explorer.queries import biases as bias_queries
from explorer.queries import events as event_queries
from explorer.queries import loads as load_queries
from explorer.queries import losses as loss_queries
from explorer.ui.components.player import Lead, Mark, heatmap_player
from explorer.ui.replay import bias_update, breadcrumbs, expert_order, playhead, run_health
from explorer.ui.replay.event_list import event_list
from explorer.ui.server.services import services
from explorer.ui.shared import (
    cached,
    count_notes,
    exports,
    import_report,
    panels,
    show,
    store,
    switching,
    urls,
)
from explorer.wording import counted

TICK_S = 2.0
"""Seconds between two looks at a run that still trains."""
HEALTH_TICK_S = 10.0
"""The same for its health, which is computed from all of its steps."""
CLICK = "Click a point to open its step."
"""Beside the heading and not in the figure, which is exported too: only a page can be clicked."""


def select_run(runs: Sequence[Run]) -> Run:
    """The selector of the run, bound to `?run=`."""
    by_id = {run.run_id: run for run in runs}
    default = default_run(runs).run_id
    urls.prepare_choice(
        "run",
        list(by_id),
        default,
        lambda value: (
            f"The link names the run “{value}”, which does not exist or has no loads. {default} is shown."
        ),
    )
    urls.show_notices("run")
    with st.container(horizontal=True, vertical_alignment="bottom", key="run_row"):
        run_id = urls.selectbox(
            "Run",
            list(by_id),
            key="run",
            format_func=run_names(runs).__getitem__,
            help="Runs that are selected on Compare come first.",
        )
        run = by_id[run_id]
        expert_order.control(run)
    urls.show_notices(expert_order.KEY)
    st.fragment(_facts, run_every=_clock(run))(run)
    count_notes.show_notes([("", run)])
    import_report.of_run(run)
    if run.is_running:
        st.fragment(switching.of_run, run_every=TICK_S)(run_id)
    return run


def _facts(run: Run) -> None:
    run = latest(run)
    title = "" if run.title in run.label else run.title
    facts = (run.run_id, title, run.label, run.sizes, _steps(run), run.state)
    show.note(" · ".join(fact for fact in facts if fact))


def _steps(run: Run) -> str:
    """`800 of 800 steps`; of an import, whose file may leave steps out, `14 recorded steps, 0 to 160`."""
    done = run.last_step + 1
    if not run.is_imported:
        return f"{done:,} of {counted(run.num_steps, 'step')}"
    text = counted(run.num_steps, "recorded step")
    return text if run.num_steps >= done else f"{text}, up to step {run.last_step:,}"


@st.fragment(key=playhead.PANELS)
def show_run(run: Run) -> None:
    """The run's health, player and panels that follow the playhead, then those of layer and whole run.

    Another layer or expert reruns this and nothing around it.
    """
    run = latest(run)
    panels.draw_again()
    panels.bind(*view.KEYS)
    clock = _clock(run)
    st.fragment(_health, run_every=HEALTH_TICK_S if run.is_running else None)(run)
    above, player, between, update = (
        st.container(),
        show.steady("panels"),
        st.container(),
        show.steady("bias_step"),
    )
    with player:
        st.fragment(_player, run_every=clock)(run, update)
    settings = playhead.settings()
    with above:
        breadcrumbs.row(run, settings.layer, settings.expert)
    with between:
        _beside_playhead(run, settings)
    _domains(run)
    _every_step(run)


def _beside_playhead(run: Run, settings: view.ReplaySettings) -> None:
    """Export, events and curves of the layer; the playhead leaves them alone."""
    clock = _clock(run)
    panels.add_film(view.HEATMAP, partial(films.of_layer, store.STORE, run, settings.layer, key=view.HEATMAP))
    # Outside of what follows the playhead: closed it would still be sent with every move.
    exports.menu(
        view.HEATMAP, subject=f"Expert load of layer {settings.layer}", label="Heatmap: data and export"
    )
    st.fragment(_events, run_every=clock)(run)
    with show.steady("curves"):
        st.fragment(_curves, run_every=clock)(run)


def _clock(run: Run) -> float | None:
    return TICK_S if run.is_running else None


def latest(run: Run) -> Run:
    """The run with its newest step; draws the page once more when its training has ended."""
    if not run.is_running:
        return run
    services().ingest.wake()
    now = next((other for other in cached.list_runs() if other.run_id == run.run_id), run)
    if not now.is_running:
        # Without the clock, and with the panels that only ended runs have.
        st.rerun()
    return now


def _questions(run: Run) -> view.ReplayQuestions:
    """The questions for what the widgets say, with the order of experts as it was frozen."""
    settings = playhead.settings()
    return view.questions(run, settings, expert_order.stable_order(run, settings.layer, settings.sort))


def _player(run: Run, update: DeltaGenerator) -> None:
    """The player, with bars and sentences for its step, and the bias update after it further down.

    Only this reruns when the playhead moves, once. Every element here costs the browser time with every move:
    what does not depend on the step lies outside. update: where the bias update stands on the page.
    """
    # Streamlit lets a fragment write there only if the run of the whole page did, whatever there was to say.
    update = update.container()
    run = latest(run)
    if run.is_running:
        playhead.undo_echo(run)
    playhead.controls(run)
    settings, questions = playhead.settings(), _questions(run)
    playhead.DRAWN.put((settings.layer, settings.expert))
    # The player stands where a link finds the heatmap (`display.embed`).
    with st.container(key=f"panel-{view.HEATMAP}", gap=None):
        _heatmap_player(run, settings)
    left, right = show.in_columns(2)
    with left:
        st.markdown("### Expert load", help=tip("load"))
        _draw_step(questions.loads)
    with right:
        st.markdown(_at_this_step(run, settings))
    panels.page_figures().playhead = float(settings.step)
    panels.add_later(view.HEATMAP, partial(_still, questions.heatmap))
    with update:
        bias_update.section(run, settings)


def _heatmap_player(run: Run, settings: view.ReplaySettings) -> None:
    layer = settings.layer
    heatmap_player(
        store.ask(load_queries.load_matrix, run, layer),
        key=f"player-{run.run_id}-{layer}",
        step=settings.step,
        on_step=partial(playhead.move, run),
        expert=settings.expert,
        on_expert=playhead.single_out,
        label=f"Expert loads of {run.label}, layer {layer}",
        order=expert_order.rows(run, layer, settings.sort),
        events=marks(store.ask(event_queries.events, run), layer, run.last_step),
        lead=Lead(
            scope=linking.scope_of(run.run_id),
            layer=run.layers.index(layer),
            layers=run.num_moe_layers,
            on_layer=partial(playhead.change_layer, run.layers),
        ),
        on_moved=playhead.draw_what_changed,
    )


def _draw_step(question: Question) -> None:
    """Show a panel of one step without keeping it: every step has another, and they would fill the cache."""
    answer = question.answer(store.STORE)
    if isinstance(answer, Panel):
        # The sentences stand beside the chart, in one text with those on biases and loss.
        show.draw(answer, key=question.key, live=True, text=False)


def _still(question: Question) -> Panel:
    answer = question.answer(store.STORE)
    assert isinstance(answer, Panel), "a run with loads has a heatmap"
    return answer


def _at_this_step(run: Run, settings: view.ReplaySettings) -> str:
    """Loads, biases and loss at the playhead; one text, because every element costs a move some time."""
    sentences = at_step.sentences(store.STORE, run, settings.layer, settings.step)
    return "\n\n".join(
        [
            f"### Step {settings.step}, layer {settings.layer}",
            *_layer_name(run, settings.layer),
            *map(show.plain, sentences),
            f":gray[:small[{loads.bars_how(run, settings.layer)}]]",
        ]
    )


def _layer_name(run: Run, layer: int) -> list[str]:
    """What the model calls the layer, if the run was recorded with layer names."""
    name = layer_name(run, layer)
    return [f":gray[:small[{show.plain(name)}]]"] if name else []


def marks(events: pl.DataFrame, layer: int, last_step: int) -> list[Mark]:
    """The events of a layer, and those of the whole run, as the player draws them."""
    return [
        Mark(
            step=min(row["step"], last_step),
            expert=row["expert"],
            sign=event_marks.glyph(row["kind"]).letter,
            label=_event_label(row),
        )
        for row in event_marks.of_layer(events, layer).to_dicts()
    ]


def _event_label(row: Mapping[str, Any]) -> str:
    """`death, expert 3: no token in …`"""
    expert = "" if row["expert"] is None else f", expert {row['expert']}"
    return f"{event_name(row['kind'])}{expert}" + (f": {row['detail']}" if row["detail"] else "")


def _health(run: Run) -> None:
    """What is wrong with the router; choosing a place moves playhead and layer there."""
    run_health.panel(latest(run))


def _events(run: Run) -> None:
    """The list of events; choosing one moves playhead, layer and expert there."""
    run = latest(run)
    panel = st.expander("Events of this run", key="events_open", on_change="rerun", icon=":material/flag:")
    if panel.open:
        with panel:
            event_list(run, partial(playhead.jump, run.last_step))


def _curves(run: Run) -> None:
    """Biases and loss over the whole run; their playheads follow the player inside the browser."""
    run = latest(run)
    questions, absent = _questions(run), _absent_curves(run)
    parts = [
        ("expert biases", "Bias trajectories", f"{tip('expert_bias')} {CLICK}", questions.biases),
        ("losses", "Language loss so far", tip("lm_loss"), questions.loss),
    ]
    present = [part for part in parts if part[0] not in absent]
    for place, (_, heading, words, question) in zip(show.in_columns(len(present)), present, strict=True):
        with place:
            st.subheader(heading, help=words)
            show.question(question, live=True)
    if absent:
        show.note(f"No {' and no '.join(absent)} in what was imported or logged.")


def _absent_curves(run: Run) -> list[str]:
    """What a foreign run does not hold; a run of our own rules keeps both charts."""
    if run.balancer or run.is_running:
        return []
    biases_of_layer = store.ask(
        bias_queries.bias_trajectories, run, playhead.settings().layer, view.BESIDE_PLAYER_BINS
    )
    series = store.ask(loss_queries.loss_series, [run], losses.AT_PLAYHEAD_BINS)
    has_loss = not series.is_empty() and series["lm_loss"].is_not_null().any()
    return ["expert biases"] * biases_of_layer.is_empty() + ["losses"] * (not has_loss)


@st.fragment
def _domains(run: Run) -> None:
    """Held-out load by domain; it does not follow the playhead."""
    question = _questions(run).domains
    if not isinstance(store.answer(question), Missing):
        st.subheader("Expert load by domain", help=tip("domain"))
        show.load_legend()
        show.question(question, stays=True)


@st.fragment
def _every_step(run: Run) -> None:
    """The whole layer as one still image; Plotly draws a hundred thousand cells faster than Vega."""
    panel = st.expander(
        "Every step at full resolution", key="full", on_change="rerun", icon=":material/grid_on:"
    )
    if not panel.open:
        return
    layer = playhead.settings().layer
    with panel:
        draw = partial(loads.every_step, store.STORE, ArmSet.of_runs([run]), OneLayer(layer=layer))
        st.plotly_chart(
            draw(dark=st.context.theme.type == "dark"),
            key="full_heatmap",
            config=PLOTLY_CONFIG,
            alt=f"Expert load of layer {layer} at every recorded step, as one image",
        )
        show.note("Static image with hover values: drag to zoom in, double-click to zoom out.")
        exports.plotly_button(draw, key="full", run_id=run.run_id)
