"""The heatmap player as a Python function: mounts once, plays in the browser, reports a step on pause."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from explorer.charts import linking, scales, theme
from explorer.records.matrix import LoadMatrix
from explorer.ui.components import modules
from explorer.ui.components.player.payload import matrix_payload
from explorer.ui.shared import display, state

FOLDER = Path(__file__).parent

_PLAYER = st.components.v2.component(
    "moe_heatmap_player",
    html=(FOLDER / "player.html").read_text(encoding="utf-8"),
    css=(FOLDER / "player.css").read_text(encoding="utf-8") + modules.TIP_CSS,
    js=modules.script(FOLDER / "index.js"),
)
_HEARD = state.Memo[dict[str, int]]("player-heard", dict)
"""Key of a player -> the time of its last report, by which the browser knows what has arrived."""
_SYNC = st.components.v2.component("moe_heatmap_player_sync", js=modules.script(FOLDER / "sync.js"))


@dataclass(frozen=True, kw_only=True)
class PlayerEvent:
    """Where the player was left: on pause, on release of the scrubber, on a click or a key."""

    step: int
    expert: int | None
    layer: int | None = None
    """The layer that a key asked for, where one did."""
    time: int = 0
    """When it was reported (ms since 1970, by the browser's clock), which is the report's name."""


class Mark(TypedDict):
    """An event, as a small sign above the heatmap."""

    step: int
    expert: int | None
    """The expert that it concerns; None: not a single one."""
    sign: str
    """What is drawn: a letter or a sign, one per kind of event."""
    label: str
    """What the tooltip says."""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """What the player that leads its page does beyond its own heatmap; at most one player of a page may.

    It announces every move in the browser, where charts with the playhead `charts.theme.Follow.PLAYER`
    follow, and its keys work on the whole page and not only when it has the focus.
    """

    scope: str
    """The expert under the pointer is highlighted in every chart of the same scope, and vice versa."""
    layer: int
    """Position of its layer among those of the run, as `layers` and `on_layer` count them."""
    layers: int
    on_layer: Callable[[int], None]
    """J and K ask for the next or previous layer."""


def heatmap_player(
    matrix: LoadMatrix,
    *,
    key: str,
    step: int | None = None,
    on_step: Callable[[int], None] | None = None,
    expert: int | None = None,
    on_expert: Callable[[int | None], None] | None = None,
    label: str = "Expert loads over steps",
    order: Sequence[int | Sequence[int]] | None = None,
    events: Sequence[Mark] = (),
    lead: Lead | None = None,
    on_moved: Callable[[], None] | None = None,
) -> PlayerEvent | None:
    """Heatmap of one run and layer with playback, and the loads at the playhead as bars beside it.

    The matrix is sent when it changes; `step` and `expert` are sent apart from it in a few bytes. While
    the player plays it leads and ignores `step`; when it is paused it follows. `on_step`, `on_expert` and
    `lead.on_layer` run before the page does, so they may move widgets; then `on_moved`. At the default speed
    the run takes about twelve seconds. `order`: experts from top to bottom, or lists of those that share a
    row, which shows their mean; by index without it. `events` are drawn above the heatmap.

    In a fragment that reruns by itself (`run_every`), keep the step in plain session state: a widget
    of the same key would send its old value back with a tick that is under way.

    Returns the event that caused this rerun, or None.
    """

    def moved() -> None:
        event = _event(state.value(key))
        if event is None:
            return
        _HEARD.get()[key] = event.time
        if on_step is not None and event.step != step:
            on_step(event.step)
        if on_expert is not None and event.expert != expert:
            on_expert(event.expert)
        if lead is not None and event.layer is not None and 0 <= event.layer < lead.layers:
            lead.on_layer(event.layer)
        if on_moved is not None:
            on_moved()

    data = {
        "id": key,
        "matrix": matrix_payload(matrix),
        "height": height_of(int(matrix.tokens.shape[1]) if order is None else len(order)),
        "label": label,
        "order": None if order is None else [one if isinstance(one, int) else list(one) for one in order],
        "events": sorted(events, key=lambda mark: mark["step"]),
        **_look(),
        **_links(lead),
    }
    # No gap: the second component has no size and must not leave a hole in the page.
    with st.container(gap=None):
        result = _PLAYER(key=key, data=data, on_moved_change=moved)
        heard = _HEARD.get().get(key, 0)
        _SYNC(key=f"{key}-sync", data={"id": key, "step": step, "expert": expert, "heard": heard})
    return _event(result)


def _look() -> dict[str, Any]:
    """Colours for a light and a dark page, the ticks of the legend, and the enlargement of a lecture."""
    inks, bars = scales.stops(), scales.bar_stops()
    return {
        "limit": scales.LOAD_LIMIT,
        "scale": display.FACTOR if display.is_lecture() else 1,
        "ticks": [[t, scales.tick_label(t)] for t in scales.ticks()],
        "colours": {
            side: {
                "stops": [getattr(ink, side) for ink in inks],
                "bars": [getattr(ink, side) for ink in bars],
                "dead": getattr(theme.DEAD, side),
            }
            for side in ("light", "dark")
        },
    }


def _links(lead: Lead | None) -> dict[str, Any]:
    """What only the leading player has; `vega` names the events that charts are bound to."""
    if lead is None:
        unlinked = dict.fromkeys(("playhead", "pick", "expert"))
        return {"keys": False, "layer": None, "layers": 1, "vega": unlinked}
    names = {
        "playhead": theme.PLAYHEAD_EVENT,
        "pick": linking.PICK_EVENT,
        "expert": linking.event_name(lead.scope),
    }
    return {"keys": True, "layer": lead.layer, "layers": lead.layers, "vega": names}


def height_of(experts: int) -> int:
    """Pixels: tall rows for few experts, at most about 500."""
    row = 24 if experts <= 8 else 20 if experts <= 16 else 13 if experts <= 32 else 7
    return 52 + max(120, min(448, experts * row))


def _event(result: Any) -> PlayerEvent | None:
    """The trigger value, checked: it comes from a browser."""
    value = result.get("moved") if result is not None else None
    if not isinstance(value, dict):
        return None
    step = _whole(value.get("step"))
    if step is None:
        return None
    expert, layer, time = (_whole(value.get(name)) for name in ("expert", "layer", "time"))
    return PlayerEvent(step=step, expert=expert, layer=layer, time=time or 0)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
