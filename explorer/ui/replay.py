"""The Replay page: one playhead, and everything that follows it."""

from collections.abc import Sequence
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import biases, captions, loads, losses
from explorer.ui import cached, show, urls
from explorer.ui.arms import Arm, Run
from explorer.ui.player import heatmap_player

BINS = 120
"""Columns of the charts beside the player: enough for their width, few enough to follow at once."""
NOBODY = "all"


def playable(runs: Sequence[Run], chosen: Sequence[Arm]) -> list[Run]:
    """Runs with loads, those of the run picker first."""
    picked = [run for arm in chosen for run in arm.runs]
    rest = [run for run in runs if run not in picked]
    return [run for run in [*picked, *rest] if run.has_loads]


def choose_run(runs: Sequence[Run]) -> Run:
    """The selector of the run, bound to `?run=`."""
    by_id = {run.run_id: run for run in runs}
    urls.settle(
        "run", list(by_id), _interesting(runs).run_id,
        lambda value: f"The link names the run “{value}”, which is not here or has no loads. Another one is "
        "shown.",
    )  # fmt: skip
    run_id = st.selectbox(
        "Run", list(by_id), key="run", bind="query-params", help="The runs of the picker come first."
    )
    return by_id[run_id]


def _interesting(runs: Sequence[Run]) -> Run:
    """The first run with a bias: there is more to see in it."""
    return next((run for run in runs if run.family == "loss_free"), runs[0])


@st.fragment
def view(run: Run) -> None:
    """Player and panels. Only this reruns when the playhead moves."""
    layers = list(range(run.num_moe_layers))
    urls.settle(
        "layer", layers, 0,
        lambda value: f"The link names layer {value}; this run has mixture layers 0 to {layers[-1]}. Layer 0 "
        "is shown.",
    )  # fmt: skip
    urls.settle(
        "expert", [NOBODY, *map(str, range(run.num_experts))], NOBODY,
        lambda value: f"The link names expert {value}; this run has experts 0 to {run.num_experts - 1}. None "
        "is singled out.",
    )  # fmt: skip
    steps = list(range(run.last_step + 1))
    urls.settle(
        "step", steps, run.last_step,
        lambda value: f"The link names step {value}; this run has steps 0 to {run.last_step}. The last one "
        "is shown.",
    )  # fmt: skip
    urls.show_notices()
    left, right = st.columns([3, 1])
    with left:
        layer = st.segmented_control(
            "Mixture layer", layers, key="layer", bind="query-params", required=True,
            help="Each layer has its own router and its own experts.",
        )  # fmt: skip
    with right:
        st.selectbox("Expert", [NOBODY, *map(str, range(run.num_experts))], key="expert", bind="query-params")
    layer = int(layer or 0)
    step = int(st.session_state["step"])
    chosen = st.session_state["expert"]
    expert = None if chosen == NOBODY else int(chosen)
    heatmap_player(
        cached.load_matrix(run.version, layer),
        key=f"player-{run.run_id}-{layer}",
        step=step,
        on_step=partial(_move, run.last_step),
        expert=expert,
        on_expert=_single_out,
        label=f"Expert loads of {run.label}, layer {layer}",
    )
    if run.last_step > 0:
        st.slider("Step", 0, run.last_step, key="step", bind="query-params")
    _panels(run, layer, step, expert)


def _move(last_step: int, step: int) -> None:
    st.session_state["step"] = min(max(step, 0), last_step)


def _single_out(expert: int | None) -> None:
    st.session_state["expert"] = NOBODY if expert is None else str(expert)


def _panels(run: Run, layer: int, step: int, expert: int | None) -> None:
    """Loads, biases and loss at the playhead."""
    now = cached.loads_at(run.version, layer, step)
    left, right = st.columns(2)
    with left:
        st.subheader("Who works at this step?")
        show.figure(
            loads.load_bars(now),
            subject=f"Loads of layer {layer} at step {step}",
            finding=captions.load_bars(now),
            how="Every expert would reach the line at 1 if the work were shared evenly.",
            table=now,
            key="replay_loads",
        )
    with right:
        st.subheader("Which way are they pushed?")
        trajectories = cached.bias_trajectories(run.version, layer, BINS)
        show.figure(
            biases.bias_trajectories(
                trajectories, playhead=step, highlight=_highlight(now, expert), height=240
            ),
            subject=f"Expert biases of layer {layer}",
            finding=captions.bias_trajectories(trajectories),
            how="A rising bias makes an expert easier to choose; the vertical rule is the playhead.",
            table=trajectories,
            key="replay_biases",
        )
    st.subheader("What does the model know by then?")
    train = cached.loss_series((run.version,), "step", BINS)
    held = cached.eval_series((run.version,), "step")
    labels = {run.run_id: run.label}
    show.figure(
        losses.loss_curves(
            train, held, labels=labels, families={run.run_id: run.family}, metric="lm_loss", log_y=False,
            playhead=step, height=240,
        ),
        subject="Language loss over steps",
        finding=_loss_at(run, step),
        how="The line is the loss of every training step, the points are held-out text. No balancing loss is "
        "added.",
        table=train,
        key="replay_loss",
    )  # fmt: skip


def _highlight(now: pl.DataFrame, expert: int | None) -> list[int]:
    """The expert that was singled out, else the busiest and the idlest one of this step."""
    if expert is not None:
        return [expert]
    if now.is_empty():
        return []
    ranked = now.sort("tokens")["expert"].to_list()
    return [int(ranked[-1]), int(ranked[0])]


def _loss_at(run: Run, step: int) -> str:
    row = cached.step_row(run.version, step)
    if row.is_empty():
        return f"No loss was recorded for step {step}."
    loss, tokens = float(row["lm_loss"][0]), int(row["tokens_seen"][0])
    return f"At step {step}, after {tokens:,} tokens, the language loss is {loss:.2f} nats per token."
