"""The Replay page: one playhead, and everything that follows it."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import event_marks, linking
from explorer.glossary import tip
from explorer.metrics.events import event_name
from explorer.ui import (
    bias_step,
    cached,
    count_notes,
    crumbs,
    expert_order,
    exports,
    layers,
    panels,
    show,
    switching,
    urls,
)
from explorer.ui import replay_figures as figures
from explorer.ui.arms import Arm, Run
from explorer.ui.compare import extremes
from explorer.ui.event_list import event_list
from explorer.ui.player import Mark, heatmap_player, step_at_rest
from explorer.ui.services import services
from explorer.wording import counted

NOBODY = "all"
WHOLE_PAGE, SHOWN, MOVED = "replay_whole_page", "replay_shown", "replay_moved"
JUMPED = "replay_jumped"
TICK_S = 2.0
"""How often a run that still trains is looked at again."""
ECHO_S = 1.5


def playable(runs: Sequence[Run], chosen: Sequence[Arm]) -> list[Run]:
    """Runs with loads, those of the run picker first."""
    picked = list(dict.fromkeys(run for arm in chosen for run in arm.runs))
    rest = [run for run in runs if run not in picked]
    return [run for run in [*picked, *rest] if run.has_loads]


def choose_run(runs: Sequence[Run]) -> Run:
    """The selector of the run, bound to `?run=`."""
    by_id = {run.run_id: run for run in runs}
    urls.settle(
        "run",
        list(by_id),
        _interesting(runs).run_id,
        lambda value: (
            f"The link names the run “{value}”, which is not here or has no loads. "
            f"{_interesting(runs).run_id} is shown."
        ),
    )
    urls.show_notices("run")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = urls.selectbox("Run", list(by_id), key="run", help="The runs of the picker come first.")
        run = by_id[run_id]
        expert_order.control(run)
    urls.show_notices(expert_order.KEY)
    st.fragment(_facts, run_every=_clock(run))(run)
    count_notes.show_notes([("", run)])
    if run.is_running:
        st.fragment(switching.of_run, run_every=TICK_S)(run_id)
    return run


def _facts(run: Run) -> None:
    run = latest(run)
    steps = f"{run.last_step + 1:,} of {counted(run.num_steps, 'step')}"
    facts = (run.title, run.label, run.sizes, steps, run.state)
    show.note(" · ".join(fact for fact in facts if fact))


def _interesting(runs: Sequence[Run]) -> Run:
    """The first run with a bias: there is more to see in it."""
    return next((run for run in runs if run.family == "loss_free"), runs[0])


def show_run(run: Run) -> None:
    """Player and panels that follow the playhead, then what belongs to the layer as a whole."""
    clock = _clock(run)
    st.session_state[WHOLE_PAGE] = True
    above = st.container()
    with show.steady("panels"):
        st.fragment(view, run_every=clock)(run)
    layer, expert = int(st.session_state["layer"]), _expert()
    with above:
        crumbs.row(run, layer, expert)
    panels.add_film(figures.HEATMAP, partial(figures.film, run, layer))
    # Outside of what follows the playhead: closed it would still be sent with every move.
    exports.menu(figures.HEATMAP, subject=f"Loads of layer {layer}", label="Heatmap: data and export")
    st.fragment(_event_panel, run_every=clock)(run)
    with show.steady("curves"):
        st.fragment(_curves, run_every=clock)(run, layer, expert)
    with show.steady("bias_step"):
        st.fragment(_bias_step, run_every=clock)(run, layer, expert)
    figures.specialists(run, layer)
    figures.every_step(run, layer)


def _clock(run: Run) -> float | None:
    return TICK_S if run.is_running else None


def latest(run: Run) -> Run:
    """The run as far as it has come; draws the page once more when its training has ended."""
    if not run.is_running:
        return run
    services().ingest.wake()
    now = next((known for known in cached.list_runs() if known.run_id == run.run_id), run)
    if not now.is_running:
        # Without the clock, and with what only ended runs have.
        st.rerun()
    return now


def _draw_all_again(layer: int) -> None:
    """Draw the rest of the page when layer or expert has changed; the playhead leaves it alone."""
    is_whole = st.session_state.pop(WHOLE_PAGE, False)
    shown = (layer, _expert())
    changed = st.session_state.get(SHOWN) != shown
    st.session_state[SHOWN] = shown
    if changed and not is_whole:
        st.rerun()


def view(run: Run) -> None:
    """Player and what is said of its step. Only this reruns when the playhead moves.

    Every element here costs the browser time with every move: what does not depend on the step lies outside.
    """
    run = latest(run)
    if run.is_running:
        _undo_echo()
    layer, expert, step = _playhead(run)
    _draw_all_again(layer)
    order = expert_order.frozen(run, layer)
    # The player stands where a link finds the heatmap (`display.embed`).
    with st.container(key=f"panel-{figures.HEATMAP}", gap=None):
        heatmap_player(
            cached.load_matrix(run.version, layer),
            key=f"player-{run.run_id}-{layer}",
            step=step,
            on_step=partial(_move, run.last_step),
            expert=expert,
            on_expert=_single_out,
            label=f"Expert loads of {run.label}, layer {layer}",
            follow=True,
            scope=linking.scope_of(run.run_id, layer),
            order=order,
            events=marks(cached.events(run.version), layer, run.last_step),
            keys=True,
            layer=run.layers.index(layer),
            layers=run.num_moe_layers,
            on_layer=partial(_change_layer, run.layers),
        )
    left, right = show.in_columns(2)
    now = cached.loads_at(run.version, layer, step)
    with left:
        figures.loads_panel(run, now, layer, order)
    with right:
        st.markdown(figures.at_this_step(run, now, step))
    panels.shown().playhead = float(step)
    panels.add_later(figures.HEATMAP, partial(figures.heatmap, run, layer, step))


def _playhead(run: Run) -> tuple[int, int | None, int]:
    """Layer, expert and step: three widgets whose keys the player and the URL share."""
    last = run.last_step
    # The widget of a growing run keeps its range, or it would be made anew at every tick.
    most = max(last, 1, run.num_steps - 1 if run.is_running else 0)
    layers.settle(run.layers, "this run")
    width = run.width(int(st.session_state["layer"]))
    experts = [NOBODY, *map(str, range(width))]
    urls.settle(
        "expert",
        experts,
        NOBODY,
        lambda value: (
            f"The link names expert {value}; the experts of this layer are 0 to {width - 1}. "
            "None is singled out."
        ),
    )
    urls.settle_number(
        "step",
        0,
        last,
        last,
        lambda value: (
            f"The link names step {value}; the steps of this run are 0 to {last}. The last one is shown."
        ),
    )
    urls.show_notices("layer", "expert", "step")
    # Wide beside narrow, and under each other on a phone.
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        layer = layers.control(run.layers, "Each layer has its own router and its own experts.")
        # Its default is where a link without a step opens, so that step 0 stays in the address.
        urls.number_input("Step", 0, most, most, key="step", width=150, help=tip("playhead"))
        st.selectbox(
            "Single out expert",
            experts,
            key="expert",
            bind="query-params",
            width=150,
            help="Its bias is drawn bold and its row is marked. A click in the heatmap does the same.",
        )
    return layer, _expert(), int(st.session_state["step"])


def _expert() -> int | None:
    chosen = st.session_state["expert"]
    return None if chosen == NOBODY else int(chosen)


def _move(last_step: int, step: int) -> None:
    before, now = st.session_state["step"], min(max(step, 0), last_step)
    st.session_state["step"] = now
    st.session_state[MOVED] = (before, now, time.monotonic())


def _undo_echo() -> None:
    """A tick of the clock that left the browser before it heard of a move brings the old step back."""
    before, now, when = st.session_state.get(MOVED, (None, None, 0.0))
    if before is not None and st.session_state.get("step") == before and time.monotonic() - when < ECHO_S:
        st.session_state["step"] = now


def _single_out(expert: int | None) -> None:
    st.session_state["expert"] = NOBODY if expert is None else str(expert)


def _change_layer(numbers: Sequence[int], position: int) -> None:
    st.session_state["layer"] = numbers[position]


def marks(events: pl.DataFrame, layer: int, last_step: int) -> list[Mark]:
    """The events of a layer, and those of the whole run, as the player draws them."""
    return [
        Mark(
            step=min(row["step"], last_step),
            expert=row["expert"],
            sign=event_marks.glyph(row["kind"]).letter,
            label=_event_words(row),
        )
        for row in event_marks.of_layer(events, layer).to_dicts()
    ]


def _event_words(row: Mapping[str, Any]) -> str:
    """`death, expert 3: no token in …`"""
    whom = "" if row["expert"] is None else f", expert {row['expert']}"
    return f"{event_name(row['kind'])}{whom}" + (f": {row['detail']}" if row["detail"] else "")


def _event_panel(run: Run) -> None:
    """The list of events; choosing one moves playhead, layer and expert there."""
    if st.session_state.pop(JUMPED, False):
        st.rerun()
    run = latest(run)
    panel = st.expander("Events of this run", key="events_open", on_change="rerun", icon=":material/flag:")
    if panel.open:
        with panel:
            event_list(run, partial(_jump, run.last_step))


def _jump(last_step: int, event: Mapping[str, Any]) -> None:
    st.session_state["step"] = min(int(event["step"]), last_step)
    if event["layer"] is not None:
        st.session_state["layer"] = int(event["layer"])
    if event["expert"] is not None:
        st.session_state["expert"] = str(event["expert"])
    # Called from a fragment, and all of the page follows.
    st.session_state[JUMPED] = True


def _curves(run: Run, layer: int, expert: int | None) -> None:
    """Biases and loss over the whole run; their playheads follow the player inside the browser."""
    run = latest(run)
    left, right = show.in_columns(2)
    with left:
        figures.bias_panel(run, layer, expert)
    with right:
        figures.loss_panel(run)


def _bias_step(run: Run, layer: int, expert: int | None) -> None:
    """One update of a bias, opened; it follows the playhead on its own, once that has come to rest."""
    run = latest(run)
    frame = cached.bias_trajectories(run.version, layer, figures.BINS)
    if frame.is_empty():
        return
    known = int(st.session_state["step"])
    step = min(max(step_at_rest(known, key="bias_step_rest"), 0), run.last_step)
    shown = next(iter(extremes(frame)), 0) if expert is None else expert
    bias_step.panel(run, layer, step, shown, chosen=expert is not None)
