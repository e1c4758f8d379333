"""Bias trajectories of the experts."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from explorer import metrics
from explorer.charts import biases, captions, linking, theme
from explorer.charts import spec as specs
from explorer.figures import events, many_experts, merge
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import LayerUntil, OneExpert, OneLayer
from explorer.figures.store import Store, Trace
from explorer.queries import biases as queries
from explorer.queries.loads import load_matrix
from explorer.routing.outranking import outranking_gap

TRAJECTORIES_HOW = (
    "One line per expert. Biases of under-loaded experts are raised, those of overloaded ones lowered."
)
UNTIL_HOW = (
    "One line per expert; bold: the highest and lowest final bias. A rising bias makes an expert more likely "
    "to be selected."
)
UNTIL_PX = 340
AT_PLAYHEAD_PX = 240
"""Height of a chart beside the player."""
NO_BIAS = "None of these runs has a bias rule, so there are no biases to show."
NONE_RECORDED = "No biases are recorded for these runs."


def no_biases(arms: ArmSet) -> str:
    """Why there are no biases to show: an imported run may have a rule that nobody stated."""
    return NO_BIAS if all(is_rule_known(run) for run in arms.runs) else NONE_RECORDED


def is_rule_known(run: Run) -> bool:
    """Whether the run says how its router is balanced."""
    return run.family != "unknown"


def trajectories(store: Store, arms: ArmSet, settings: OneLayer) -> Panel | Missing:
    """Bias of every expert of one layer over training, in the first run of the only arm."""
    (arm,) = arms
    name, run, layer = arms.one_seed(arm), arm.first, settings.layer
    trace = Trace(store)
    frame, ends, band = many_experts.trajectories(trace, run, settings)
    subject = f"Bias trajectories of {name}, layer {layer}"
    if frame.is_empty():
        return Missing(subject=subject, reason=no_biases(arms))
    marked = events.of_layer(trace, run, layer)
    return _panel(
        trace,
        run,
        frame,
        subject=subject,
        ends=ends,
        band=band,
        how=(TRAJECTORIES_HOW if band is None else many_experts.BAND_HOW) + _marks_note(marked, frame),
        title=arms.title(arm),
        events=marked,
        scope=linking.scope_of(run.run_id),
    )


def trajectories_until(store: Store, arms: ArmSet, settings: LayerUntil) -> Panel:
    """The same up to a step, without marks and links, for a chart that stands alone."""
    (arm,) = arms
    trace = Trace(store)
    frame = trace.ask(queries.bias_trajectories, arm.first, settings.layer, settings.bins)
    return _panel(
        trace,
        arm.first,
        merge.up_to(frame, settings.until),
        subject=f"Bias trajectories of {arm.label}, layer {settings.layer}, seed {arm.first.seed}",
        how=f"{UNTIL_HOW}{settings.end_note}",
        widest=widest(trace, arm.first, settings.layer) if settings.until is None else None,
        height=UNTIL_PX,
    )


def widest(trace: Trace, run: Run, layer: int) -> biases.Widest | None:
    """The recorded step with the largest difference between two biases; None without finite biases, and for a
    run that is stored only in bins of steps."""
    matrix = trace.ask(load_matrix, run, layer)
    if matrix.bias is None or not np.array_equal(matrix.steps, matrix.last_steps):
        return None
    spread = metrics.bias_spread(matrix.bias.astype(np.float64))
    if not np.isfinite(spread).any():
        return None
    at = int(np.nanargmax(spread))
    low, high = float(matrix.bias[at].min()), float(matrix.bias[at].max())
    return biases.Widest(step=int(matrix.steps[at]), low=low, high=high)


def trajectories_at_playhead(store: Store, arms: ArmSet, settings: OneExpert) -> Panel:
    """The same with the playhead of the page's player, and with a chosen expert in bold."""
    (arm,) = arms
    run, layer, expert = arm.first, settings.layer, settings.expert
    trace = Trace(store)
    frame, ends, band = many_experts.trajectories(trace, run, settings, expert)
    lines = "" if band is None else f" {many_experts.BAND_HOW}"
    marked = events.of_layer(trace, run, layer)
    bold = "the highest and the lowest bias at the end" if expert is None else "the selected expert"
    return _panel(
        trace,
        run,
        frame,
        subject=f"Bias trajectories of layer {layer}",
        how="A higher bias makes an expert more likely to be chosen. "
        f"Bold: {bold}.{lines}{_marks_note(marked, frame)}",
        ends=ends,
        band=band,
        highlight=None if expert is None else [expert],
        playhead=theme.Follow.PLAYER,
        events=marked,
        height=AT_PLAYHEAD_PX,
        scope=linking.scope_of(run.run_id),
        pick=True,
    )


def _panel(
    trace: Trace,
    run: Run,
    frame: pl.DataFrame,
    *,
    subject: str,
    how: str,
    ends: pl.DataFrame | None = None,
    highlight: Sequence[int] | None = None,
    **look: Any,
) -> Panel:
    """ends: what the finding reads, None for `frame`; highlight: experts in bold, None for the `extremes`;
    look: of `charts.biases.bias_trajectories`.
    """
    gap, is_known = gap_of(run, frame), is_rule_known(run)
    bold = extremes(frame) if highlight is None else highlight
    return Panel(
        subject=subject,
        finding=captions.bias_trajectories(frame if ends is None else ends, gap=gap, is_rule_known=is_known),
        how=how,
        spec=specs.make(
            biases.bias_trajectories(frame, highlight=bold, gap=gap, is_rule_known=is_known, **look)
        ),
        table=frame,
        statements=trace.statements,
    )


def _marks_note(marked: pl.DataFrame, frame: pl.DataFrame) -> str:
    """Sentence that explains the marks above the chart; "" where there is no bias."""
    if frame.is_empty():
        return ""
    return events.marks_note(marked, since=int(frame["first_step"].to_numpy().min()))


def extremes(frame: pl.DataFrame) -> list[int]:
    """The experts with the highest and the lowest finite bias at the end; none for an empty frame."""
    last = frame.filter(pl.col("last_step") == pl.col("last_step").max(), pl.col("bias_last").is_finite())
    last = last.sort("bias_last", "expert")  # of equal biases the same as in the finding
    return [int(last["expert"][-1]), int(last["expert"][0])] if last.height else []


def config_of(run: Run) -> dict[str, object] | None:
    """The run's configuration; None where it cannot be read."""
    try:
        config = json.loads(run.config)
    except (TypeError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def gap_of(run: Run, frame: pl.DataFrame) -> float | None:
    """Bias difference beyond which scores cannot decide, at the end of a frame of trajectories."""
    if frame.is_empty():
        return None
    return outranking_gap(config_of(run) or {}, int(frame["last_step"].to_numpy().max()))
