"""Events of a run: recorded ones, and those detected from its metrics.

Detected events are read from `stretches`, which is updated at ingest
(`explorer/store/stretches.py`), so a view's cost does not depend on the run's length. Definitions:
`explorer/metrics/events.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from explorer import metrics
from explorer.queries._frames import Cursor, frame

MOST_EVENTS = 300
"""Maximum number of a run's events on a page; `event_counts` counts them all."""

STRETCHES = f"""
    SELECT run_id, kind, layer, expert, first_step, end_step, samples, peak, peak_step FROM stretches
    WHERE list_contains($run_ids::VARCHAR[], run_id) AND
        CASE kind WHEN 'idle' THEN samples >= {metrics.DEAD_STEPS}
                  WHEN 'low' THEN samples >= {metrics.COLLAPSE_STEPS} ELSE true END
"""
"""Episodes that are long enough; a shorter one is kept only because it may grow."""
RECORDED = """
    SELECT run_id, step, layer, expert, kind, detail FROM events
    WHERE list_contains($run_ids::VARCHAR[], run_id)
"""
BEGINNINGS = {
    "idle": "death",
    "low": "collapse",
    "turning": "oscillation",
    "wide": "bias_saturation",
    "settled": "choices_settled",
    "spike": "loss_spike",
    "odd_loss": "loss_not_finite",
    "odd_bias": "bias_not_finite",
}
"""Kind of episode -> kind of the event that it begins with."""
ENDS = {"idle": "revival", "low": "recovery"}
"""Kind of episode -> kind of the event that it ends with."""
SCHEMA: dict[str, type[pl.DataType]] = {
    "run_id": pl.String,
    "step": pl.Int64,
    "layer": pl.Int32,
    "expert": pl.Int32,
    "kind": pl.String,
    "detail": pl.String,
    "source": pl.String,
}


def _every(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """All events: SCHEMA without details of detected ones, and end_step, samples, peak of their episodes."""
    stretches = frame(cur, STRETCHES, run_ids=list(run_ids))
    recorded = frame(cur, RECORDED, run_ids=list(run_ids)).with_columns(source=pl.lit("recorded"))
    both = ("run_id", "layer", "expert", "end_step", "samples", "peak")
    begin = pl.when(pl.col("kind") == "spike").then("peak_step").otherwise("first_step")
    started = stretches.select(*both, step=begin, kind=pl.col("kind").replace_strict(BEGINNINGS))
    ended = stretches.filter(pl.col("kind").is_in(list(ENDS)) & pl.col("end_step").is_not_null()).select(
        *both, step="end_step", kind=pl.col("kind").replace_strict(ENDS)
    )
    detected = pl.concat([started, ended]).with_columns(source=pl.lit("detected"))
    return pl.concat([detected, recorded], how="diagonal")


def _detail(event: Mapping[str, Any]) -> str | None:
    """The text of a row of `_every`; None where a value that it names is missing."""
    if event["source"] == "recorded":
        recorded: str | None = event["detail"]
        return recorded
    end, peak, kind = event["end_step"], event["peak"], event["kind"]
    span = f"{event['samples']} recorded step{'' if event['samples'] == 1 else 's'}"
    until = ", to the last one" if end is None else f", until step {end}"
    if kind in ("oscillation", "choices_settled", "loss_spike") and peak is None:
        return None
    if kind.endswith("not_finite"):
        value = "NaN" if peak is None or math.isnan(peak) else "infinite" if peak > 0 else "minus infinity"
        return f"{'language loss' if kind == 'loss_not_finite' else 'bias'} {value} in {span}{until}"
    return {
        "death": lambda: f"no token in {span}{until}",
        "revival": lambda: f"first token after {span} without one",
        "collapse": lambda: f"effective experts at most half for {span}{until}",
        "recovery": lambda: f"effective experts above half again after {span}",
        "oscillation": lambda: (
            f"up to {math.floor(100 * peak + 0.5)} % of the bias updates in a window of "
            f"{metrics.OSCILLATION_STEPS} recorded steps reverse direction, for {span}"
        ),
        "bias_saturation": lambda: f"largest and smallest bias more than {metrics.WIDE_SPREAD:g} apart",
        "choices_settled": lambda: (
            f"{math.floor(100 * peak)} % of the choices of the last probe (step {end}) already made"
        ),
        "loss_spike": lambda: (
            f"language loss {peak:.2f} nats above the median of the {metrics.SPIKE_STEPS} "
            "recorded steps before"
        ),
    }[kind]()


def events(cur: Cursor, run_id: str, most: int = MOST_EVENTS) -> pl.DataFrame:
    """The events of a run, at most `most` rows: the earliest of each kind, evenly over kinds if possible.

    Columns: step, layer (NULL: not layer-specific), expert (NULL: not expert-specific), kind
    (of `metrics.events`, or recorded by a trainer), detail (text), source (recorded or detected). By step.
    """
    return events_of_runs(cur, [run_id], most).drop("run_id")


def events_of_runs(cur: Cursor, run_ids: Sequence[str], most: int = MOST_EVENTS) -> pl.DataFrame:
    """The same for several runs, `run_id` before the other columns; in the order of `run_ids`, by step."""
    order = ("step", "kind", "layer", "expert")
    every = _every(cur, run_ids).sort("run_id", *order, nulls_last=True)
    nth = pl.int_range(pl.len()).over("run_id", "kind", order_by=None)
    kept = (
        every.with_columns(nth=nth)
        .filter(pl.col("nth") < most)
        .sort("nth", "kind", maintain_order=True)
        .group_by("run_id", maintain_order=True)
        .head(most)
    )
    details = pl.Series("detail", [_detail(event) for event in kept.iter_rows(named=True)], dtype=pl.String)
    return (
        kept.with_columns(details, position=_position(run_ids))
        .sort("position", *order, "detail", nulls_last=True)
        .select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    )


def _position(run_ids: Sequence[str]) -> pl.Expr:
    """The place of a row's run among some."""
    places = {run_id: place for place, run_id in reversed(list(enumerate(run_ids)))}
    return pl.col("run_id").replace_strict(places, return_dtype=pl.Int64)


def event_counts(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """Number of events per run and kind, including those that `events` leaves out.

    Columns: run_id, kind, events, layers (the layers concerned, a list), first_step, last_step, source.
    Sorted by run, first step and kind.
    """
    counts = _every(cur, run_ids).group_by("run_id", "kind").agg(
        events=pl.len().cast(pl.Int64),
        layers=pl.col("layer").drop_nulls().unique().sort(),
        first_step=pl.col("step").min(),
        last_step=pl.col("step").max(),
        source=pl.col("source").max(),
    )  # fmt: skip
    return counts.sort(_position(run_ids), "first_step", "kind", nulls_last=True)
