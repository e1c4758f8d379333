"""The Replay page: one playhead, and everything that follows it."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import biases, captions, domains, event_marks, heatmaps, linking, loads, losses, theme
from explorer.export.film import Film
from explorer.export.panel import Panel
from explorer.glossary import tip
from explorer.metrics.events import event_name
from explorer.queries import asked
from explorer.ui import (
    bias_step,
    cached,
    crumbs,
    events,
    expert_order,
    exports,
    panels,
    show,
    specs,
    switching,
    urls,
)
from explorer.ui.arms import Arm, Run
from explorer.ui.compare import extremes
from explorer.ui.event_list import event_list
from explorer.ui.player import Mark, heatmap_player, step_at_rest
from explorer.ui.services import services

BINS = 80
"""Columns of the charts beside the player: enough for their width, few enough to follow at once."""
LIMIT = 2.0
"""Colours reach from a quarter of the uniform share to four times of it."""
NOBODY = "all"
HEATMAP = "replay-heatmap"
BARS_HOW = "A bar would reach the line at 1 if the work were shared evenly."
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
        run_id = st.selectbox(
            "Run", list(by_id), key="run", bind="query-params", help="The runs of the picker come first."
        )
        run = by_id[run_id]
        expert_order.control(run)
    urls.show_notices(expert_order.KEY)
    st.fragment(_facts, run_every=_clock(run))(run)
    if run.is_running:
        st.fragment(switching.of_run, run_every=TICK_S)(run_id)
    return run


def _facts(run: Run) -> None:
    run = latest(run)
    show.note(
        f"{run.label} · {run.num_moe_layers} mixture layers of {run.num_experts} experts, {run.top_k} for "
        f"each token · {run.last_step + 1:,} of {run.num_steps:,} steps · {run.state}"
    )


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
    panels.add_film(HEATMAP, partial(_film, run, layer))
    # Outside of what follows the playhead: closed it would still be sent with every move.
    exports.menu(HEATMAP, subject=f"Loads of layer {layer}", label="Heatmap: data and export")
    st.fragment(_event_panel, run_every=clock)(run)
    with show.steady("curves"):
        st.fragment(_curves, run_every=clock)(run, layer, expert)
    with show.steady("bias_step"):
        st.fragment(_bias_step, run_every=clock)(run, layer, expert)
    _specialists(run, layer)
    _every_step(run, layer)


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
    with st.container(key=f"panel-{HEATMAP}", gap=None):
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
            layer=layer,
            layers=run.num_moe_layers,
            on_layer=_change_layer,
        )
    left, right = show.in_columns(2)
    now = cached.loads_at(run.version, layer, step)
    with left:
        _loads_panel(run, now, layer, order)
    with right:
        st.markdown(_at_this_step(run, now, step))
    panels.shown().playhead = float(step)
    panels.add_later(HEATMAP, partial(_heatmap, run, layer, step))


def _playhead(run: Run) -> tuple[int, int | None, int]:
    """Layer, expert and step: three widgets whose keys the player and the URL share."""
    layers, last = list(range(run.num_moe_layers)), run.last_step
    # The widget of a growing run keeps its range, or it would be made anew at every tick.
    most = max(last, 1, run.num_steps - 1 if run.is_running else 0)
    experts = [NOBODY, *map(str, range(run.num_experts))]
    urls.settle(
        "layer",
        layers,
        0,
        lambda value: (
            f"The link names layer {value}; the mixture layers of this run are 0 to {layers[-1]}. "
            "Layer 0 is shown."
        ),
    )
    urls.settle(
        "expert",
        experts,
        NOBODY,
        lambda value: (
            f"The link names expert {value}; the experts of this run are 0 to {run.num_experts - 1}. "
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
        layer = st.segmented_control(
            "Mixture layer",
            layers,
            key="layer",
            bind="query-params",
            required=True,
            help="Each layer has its own router and its own experts.",
        )
        # Its default is where a link without a step opens, so that step 0 stays in the address.
        st.number_input(
            "Step", 0, most, most, step=1, key="step", bind="query-params", width=150, help=tip("playhead")
        )
        st.selectbox(
            "Single out expert",
            experts,
            key="expert",
            bind="query-params",
            width=150,
            help="Its bias is drawn bold and its row is marked. A click in the heatmap does the same.",
        )
    return int(layer or 0), _expert(), int(st.session_state["step"])


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


def _change_layer(layer: int) -> None:
    st.session_state["layer"] = layer


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


def bar_rows(now: pl.DataFrame) -> pl.DataFrame:
    """The rows that `charts.load_bars` draws, so that a kept figure can take those of another step."""
    ratio = pl.col("load_ratio")
    return now.sort("expert").with_columns(
        pl.col("expert").cast(pl.Int32),
        ratio.fill_null(0.0).fill_nan(0.0),
        value=ratio.clip(2.0**-LIMIT, 2.0**LIMIT).log(2),
    )


def _loads_panel(run: Run, now: pl.DataFrame, layer: int, order: list[int] | None) -> None:
    st.markdown("### Who works at this step?", help=tip("load"))
    chart = specs.kept(
        ("replay loads", run.run_id, layer, now.is_empty(), tuple(order or ())),
        partial(
            loads.load_bars,
            now,
            limit=LIMIT,
            order=order,
            order_words=expert_order.words(),
            scope=linking.scope_of(run.run_id, layer),
        ),
    )
    show.figure(
        chart.with_rows(bar_rows(now)),
        subject=f"Loads of layer {layer} at the playhead",
        finding=captions.load_bars(now),
        how=BARS_HOW,
        table=now,
        key="replay_loads",
        live=True,
        said=False,
    )


def _heatmap(run: Run, layer: int, step: int) -> Panel:
    """The player's heatmap as a still with the playhead in it."""
    frame = cached.load_heatmap(run.version, layer)
    marked = events.of_layer(cached.events(run.version), layer)
    build = partial(heatmaps.load_heatmap, frame, playhead=specs.SOMEWHERE, events=marked)
    return Panel(
        key=HEATMAP,
        subject=f"Loads of layer {layer} of {run.label}",
        finding=captions.load_heatmap(frame, step),
        how="One row an expert, time to the right; orange takes more than its share, purple less."
        + events.marks_note(marked),
        spec=specs.kept(("replay heatmap", run.version, layer), build),
        playhead=float(step),
        table=frame,
        statements=asked.of(frame, marked),
    )


def _film(run: Run, layer: int) -> Film:
    """The same as an animation."""
    matrix = cached.load_matrix(run.version, layer)
    return Film(
        key=HEATMAP,
        title=f"{run.label}, seed {run.seed}" if run.seed is not None else run.label,
        subtitle=f"Mixture layer {layer} (of {run.num_moe_layers}): who gets the tokens",
        steps=matrix.steps,
        tokens=matrix.tokens,
    )


def _at_this_step(run: Run, now: pl.DataFrame, step: int) -> str:
    """What the playhead stands on, in words; one text, because every element costs a move some time."""
    said = (captions.load_bars(now), _bias_at(now), _loss_at(run, step))
    how = f":gray[:small[{BARS_HOW}]]"
    return "\n\n".join(
        [
            f"### Step {step}, layer {st.session_state['layer']}",
            *(show.plain(sentence) for sentence in said if sentence),
            how,
        ]
    )


def _curves(run: Run, layer: int, expert: int | None) -> None:
    """Biases and loss over the whole run; their playheads follow the player inside the browser."""
    run = latest(run)
    left, right = show.in_columns(2)
    with left:
        _bias_panel(run, layer, expert)
    with right:
        _loss_panel(run)


def _bias_panel(run: Run, layer: int, expert: int | None) -> None:
    st.subheader("Which way are they pushed?", help=tip("expert_bias"))
    frame = cached.bias_trajectories(run.version, layer, BINS)
    bold = extremes(frame) if expert is None else [expert]
    marked = events.of_layer(cached.events(run.version), layer)
    show.figure(
        specs.latest.get(
            ("replay biases", run.run_id, layer, tuple(bold)),
            run.version,
            partial(
                biases.bias_trajectories,
                frame,
                playhead=theme.Follow.PLAYER,
                events=marked,
                highlight=bold,
                height=240,
                scope=linking.scope_of(run.run_id, layer),
                pick=True,
            ),
        ),
        subject=f"Expert biases of layer {layer}",
        finding=captions.bias_trajectories(frame),
        how="A rising bias makes an expert easier to choose. Bold: "
        + ("the two that end highest and lowest." if expert is None else "the expert you singled out.")
        + " Click a point to open its step."
        + _since(marked, frame),
        table=frame,
        sources=(marked,),
        key="replay_biases",
        live=True,
    )


def _since(marked: pl.DataFrame, frame: pl.DataFrame) -> str:
    """What the marks mean in a figure that begins where the biases do."""
    first = frame["first_step"].min()
    return events.marks_note(marked, since=int(first)) if isinstance(first, int) else ""


def _loss_panel(run: Run) -> None:
    st.subheader("What has the model learnt by then?", help=tip("lm_loss"))
    train = cached.loss_series((run.version,), "step", BINS)
    held = cached.eval_series((run.version,), "step")
    labels = {run.run_id: run.label}
    happened = cached.events(run.version)
    show.figure(
        specs.latest.get(
            ("replay losses", run.run_id),
            run.version,
            partial(
                losses.loss_curves,
                train,
                held,
                labels=labels,
                families={run.run_id: run.family},
                metric="lm_loss",
                log_y=False,
                playhead=theme.Follow.PLAYER,
                events=happened,
                height=240,
            ),
        ),
        subject="Language loss over steps",
        finding=captions.loss_curves(train, held, labels=labels),
        how="The line is the training text of every step, the points are held-out text. No balancing loss is "
        "added." + events.marks_note(happened),
        table=train,
        sources=(held, happened),
        key="replay_loss",
        live=True,
    )


def _bias_step(run: Run, layer: int, expert: int | None) -> None:
    """One update of a bias, opened; it follows the playhead on its own, once that has come to rest."""
    run = latest(run)
    frame = cached.bias_trajectories(run.version, layer, BINS)
    if frame.is_empty():
        return
    known = int(st.session_state["step"])
    step = min(max(step_at_rest(known, key="bias_step_rest"), 0), run.last_step)
    shown = extremes(frame)[0] if expert is None else expert
    bias_step.panel(run, layer, step, shown, chosen=expert is not None)


def _specialists(run: Run, layer: int) -> None:
    """Which expert serves which kind of text, at the last evaluation; it does not follow the playhead."""
    frame = cached.domain_expert(run.version, layer)
    if frame.is_empty():
        return
    order = expert_order.frozen(run, layer)
    st.subheader("Who serves which text?", help=tip("domain"))
    show.figure(
        specs.kept(
            ("replay domains", run.version, layer, tuple(order or ())),
            partial(
                domains.domain_expert_heatmap,
                frame,
                order=order,
                order_words=expert_order.words(),
                scope=linking.scope_of(run.run_id, layer),
            ),
        ),
        subject=f"Held-out loads of layer {layer} by domain",
        finding=captions.domain_expert_heatmap(frame),
        how=f"Held-out text at the last evaluation, layer {layer}. A row of even colour is a domain without "
        "specialists.",
        table=frame,
        key="replay_domains",
    )


@st.fragment
def _every_step(run: Run, layer: int) -> None:
    """The whole layer as one still image; Plotly draws a hundred thousand cells faster than Vega."""
    panel = st.expander(
        "Every step at full resolution", key="full", on_change="rerun", icon=":material/grid_on:"
    )
    if not panel.open:
        return
    with panel:
        drawn = partial(
            heatmaps.full_heatmap, cached.load_matrix(run.version, layer), title=f"{run.label}, layer {layer}"
        )
        st.plotly_chart(
            drawn(dark=st.context.theme.type == "dark"),
            key="full_heatmap",
            config=heatmaps.PLOTLY_CONFIG,
            alt=f"Loads of layer {layer} at every recorded step, as one image",
        )
        show.note("A still with hover: drag to zoom in, double click to come back.")
        exports.plotly_button(drawn, key="full", run_id=run.run_id)


def _bias_at(now: pl.DataFrame) -> str:
    """Who is helped and who is held back in the step of the playhead; nothing without a bias rule."""
    if now.is_empty() or now["expert_bias"].null_count() == now.height:
        return ""
    ranked = now.sort("expert_bias")
    low, high = ranked.row(0, named=True), ranked.row(-1, named=True)
    if low["expert_bias"] == high["expert_bias"]:
        return f"At step {now['step'][0]} all biases are equal: nobody has been pushed yet."
    return (
        f"At step {now['step'][0]} expert {high['expert']} is helped most ({high['expert_bias']:+.3f}) and "
        f"expert {low['expert']} held back most ({low['expert_bias']:+.3f})."
    )


def _loss_at(run: Run, step: int) -> str:
    row = cached.step_row(run.version, step)
    if row.is_empty():
        known = cached.nearest_step(run.version, step)
        row = row if known is None else cached.step_row(run.version, known)
    if row.is_empty() or row["lm_loss"][0] is None:
        return f"No loss was recorded for step {step}."
    loss, tokens, at = float(row["lm_loss"][0]), int(row["tokens_seen"][0]), int(row["step"][0])
    return f"At step {at}, after {tokens:,} tokens, the language loss is {loss:.2f} nats per token."
