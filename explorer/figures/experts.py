"""Load and bias of one expert over training, among all experts of its layer."""

import polars as pl

from explorer.charts import microscope as charts
from explorer.charts.theme import AXIS
from explorer.figures import events
from explorer.figures import probe_sentences as sentences
from explorer.figures.arm_set import ArmSet
from explorer.figures.biases import is_rule_known
from explorer.figures.panel import Missing, Panel
from explorer.figures.probe import ProbeExpert
from explorer.figures.store import Store, Trace
from explorer.figures.templates import with_rows
from explorer.queries import biases, loads

BINS = 80
"""Points of a line, at most."""
HOW = "Bold: this expert, its band the steps in between. Faint: all others. Vertical line: the probe."
NO_BIAS = "This run has no bias rule, so there is no bias to show."
NONE_RECORDED = "No biases are recorded for this run."


def load_history(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """Load of one expert over training, in the first run of the only arm."""
    (arm,) = arms
    trace = Trace(store)
    frame = trace.ask(loads.load_heatmap, arm.first, settings.layer, BINS)
    every = frame.select(_STEP, value=pl.col("load_ratio").round(4), expert="expert")
    one = frame.filter(pl.col("expert") == settings.expert).select(
        _STEP, value="load_ratio", low="min_ratio", high="max_ratio"
    )
    return _history(trace, arms, settings, every, one, quantity="load")


def bias_history(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """Bias of one expert over training, in the first run of the only arm."""
    (arm,) = arms
    trace = Trace(store)
    frame = trace.ask(biases.bias_trajectories, arm.first, settings.layer, BINS)
    if frame.is_empty():
        reason = NO_BIAS if is_rule_known(arm.first) else NONE_RECORDED
        return Missing(subject=_subject("bias", settings), reason=reason)
    every = frame.select(_STEP, value=pl.col("bias_mean").round(5), expert="expert")
    one = frame.filter(pl.col("expert") == settings.expert).select(
        _STEP, value="bias_mean", low="bias_min", high="bias_max"
    )
    return _history(trace, arms, settings, every, one, quantity="bias")


_STEP = pl.col("first_step").cast(pl.Float64).alias("x")


def _subject(quantity: str, settings: ProbeExpert) -> str:
    return f"{quantity.capitalize()} of the expert in layer {settings.layer} over steps"


def _history(
    trace: Trace,
    arms: ArmSet,
    settings: ProbeExpert,
    every: pl.DataFrame,
    one: pl.DataFrame,
    *,
    quantity: str,
) -> Panel:
    """every: x, value, expert of all experts; one: x, value, low, high of the expert."""
    (arm,) = arms
    one = one.with_columns(pl.col("value", "low", "high").cast(pl.Float64).fill_nan(None).round(5))
    marked = events.of_layer(trace, arm.first, settings.layer)
    is_load = quantity == "load"
    # By content: two stores may hold different runs of one name. Another expert or layer exchanges the rows.
    steps = every["x"].to_numpy()
    span = (float(steps.min()), float(steps.max())) if len(steps) else None
    chart = with_rows(
        ("expert history", quantity, one.is_empty(), span, _content(marked)),
        (every, one),
        lambda: charts.expert_history(
            every,
            one,
            y_title=AXIS["load_ratio" if is_load else "expert_bias"],
            level=1.0 if is_load else None,
            events=marked,
        ),
    )
    since = 0 if span is None else int(span[0])
    return Panel(
        subject=_subject(quantity, settings),
        finding=sentences.history(one, settings.expert, settings.step, quantity=quantity),
        how=HOW + events.marks_note(marked, since=since),
        spec=chart,
        playhead=float(settings.step),
        table=one,
        statements=trace.statements,
    )


def _content(frame: pl.DataFrame) -> tuple[str, bytes]:
    """Columns, types and values of a frame as a key."""
    return str(frame.schema), frame.write_ipc(None).getvalue()
