"""Layer, step and expert of a replay: three widgets whose values the player and the address share."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.figures.arms import Run
from explorer.figures.views.replay import ALL_EXPERTS, ReplaySettings
from explorer.metrics.glossary import tip
from explorer.ui.replay import expert_order
from explorer.ui.shared import layers, state, urls


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A move of the player."""

    run_id: str
    before: int | None
    now: int
    at: float
    """Monotonic seconds."""


MOVED = state.Slot[Moved | None]("replay_moved", None)
"""The last move of the player, unless the page has gone elsewhere since."""
DRAWN = state.Slot[tuple[int, int | None] | None]("replay_drawn", None)
"""Layer and expert when the player was drawn last."""
PANELS = "replay"
"""Key of the fragment with the player and every panel."""
ECHO_S = 1.5
"""How long an old step may still come back from the browser after a move."""


def controls(run: Run) -> None:
    """The three widgets, after what the address says of them has been checked."""
    last = run.last_step
    # The widget of a growing run keeps its range, or it would be made anew at every tick.
    most = max(last, 1, run.num_steps - 1 if run.is_running else 0)
    layers.prepare(run.layers, "this run")
    width = run.width(state.number("layer"))
    experts = [ALL_EXPERTS, *map(str, range(width))]
    urls.prepare_choice(
        "expert",
        experts,
        ALL_EXPERTS,
        lambda value: (
            f"The link names expert {value}; the experts of this layer are 0 to {width - 1}. "
            "None is singled out."
        ),
    )
    urls.prepare_number(
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
        layers.control(run.layers, draw_panels)
        # Its default is where a link without a step opens, so that step 0 stays in the address.
        urls.number_input("Step", 0, most, most, key="step", width=150, help=tip("playhead"))
        st.selectbox(
            "Highlight expert",
            experts,
            key="expert",
            bind="query-params",
            on_change=draw_panels,
            width=150,
            help="Its bias is drawn bold and its row is marked. A click in the heatmap does the same.",
        )


def settings() -> ReplaySettings:
    """What the widgets say; the only place that reads them."""
    expert = state.text("expert")
    return ReplaySettings(
        layer=state.number("layer"),
        step=state.number("step"),
        expert=None if expert == ALL_EXPERTS else int(expert),
        sort=state.text(expert_order.KEY),
    )


def draw_panels() -> None:
    """The end of a callback of the player or the panels: all of them are drawn, in this one script run."""
    st.rerun(PANELS)


def draw_what_changed() -> None:
    """The same where another layer or expert was selected; the step alone leaves the panels."""
    now = settings()
    if DRAWN.get() != (now.layer, now.expert):
        draw_panels()


def move(run: Run, step: int) -> None:
    """Called when the player pauses at a step."""
    before, now = state.value("step"), min(max(step, 0), run.last_step)
    state.put("step", now)
    MOVED.put(Moved(run_id=run.run_id, before=before, now=now, at=time.monotonic()))


def go_to(step: int) -> None:
    """A link on the page names a step."""
    state.put("step", step)
    MOVED.take()


def undo_echo(run: Run) -> None:
    """Restore the step where a tick that left the browser before a move brings the old one back."""
    last = MOVED.get()
    if last is None or last.run_id != run.run_id or time.monotonic() - last.at >= ECHO_S:
        return
    if last.before is not None and state.value("step") == last.before:
        state.put("step", last.now)


def single_out(expert: int | None) -> None:
    """An expert was clicked in the player; None: the selected one again."""
    state.put("expert", ALL_EXPERTS if expert is None else str(expert))


def change_layer(layers: Sequence[int], position: int) -> None:
    """Called when a key selects the layer at this position of the run's MoE layers."""
    state.put("layer", layers[position])


def jump(last_step: int, event: Mapping[str, Any]) -> None:
    """Callback: go to an event, wherever on the page it is listed."""
    select_event(last_step, event)
    draw_panels()


def select_event(last_step: int, event: Mapping[str, Any]) -> None:
    """Its step, and its layer and expert where it has them."""
    go_to(min(int(event["step"]), last_step))
    if event["layer"] is not None:
        state.put("layer", int(event["layer"]))
    if event["expert"] is not None:
        state.put("expert", str(event["expert"]))
