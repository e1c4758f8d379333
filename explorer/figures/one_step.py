"""One recorded step of a bias rule: loads, scores, and the bias before and after the update."""

from dataclasses import dataclass

import polars as pl

from explorer.charts import captions, gallery, loads
from explorer.charts import spec as specs
from explorer.figures import bias_updates
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.queries.loads import loads_at


@dataclass(frozen=True, kw_only=True)
class OneUpdate:
    """The bias update after one recorded step of one MoE layer."""

    layer: int
    step: int


def rule_at_work(store: Store, arms: ArmSet, settings: OneUpdate) -> Panel:
    """The load of every expert, its mean score and its biases, in the first run of the only arm."""
    (arm,) = arms
    trace = Trace(store)
    frame = before_and_after(trace, arm.first, settings)
    return Panel(
        subject=f"One step of {arm.label}",
        finding=update_sentence(frame),
        how="A bar is the expert's load in this step; the dashed line is the uniform load. Beside it: its "
        "mean score, the bias that was used for selection, and the bias of the next step.",
        spec=specs.make(gallery.one_step(frame)),
        table=frame,
        statements=trace.statements,
    )


def before_and_after(trace: Trace, run: Run, settings: OneUpdate) -> pl.DataFrame:
    """Columns expert, tokens, load_ratio, mean_score, expert_bias (used), next_bias (updated), step."""
    now = trace.ask(loads_at, run, settings.layer, settings.step)
    after = trace.ask(loads_at, run, settings.layer, settings.step + 1)
    joined = now.join(after.select("expert", next_bias="expert_bias"), on="expert", how="left")
    return joined.select(
        "expert", "tokens", "load_ratio", "mean_score", "expert_bias", "next_bias", "step"
    ).sort("expert")


def update_sentence(frame: pl.DataFrame) -> str:
    """How many experts were over- and under-loaded, and how many biases moved against their load."""
    rows = frame.drop_nulls(["expert_bias", "next_bias"])
    if rows.is_empty():
        return captions.NOTHING
    move = pl.col("next_bias") - pl.col("expert_bias")
    over, under = rows.filter(pl.col("load_ratio") > 1), rows.filter(pl.col("load_ratio") < 1)
    down, up = over.filter(move < 0).height, under.filter(move > 0).height
    largest = float(rows.select(move.abs().max()).item() or 0)
    return (
        f"{over.height} of {rows.height} experts were overloaded and {down} of their biases fell; "
        f"{under.height} were under-loaded and {up} of theirs rose, each by {captions.number(largest)}."
    )


def loads_of_step(store: Store, arms: ArmSet, settings: OneUpdate) -> Panel:
    """Load of every expert in the step whose counts move the biases, in the first run of the only arm.

    Raises ConfigError if the step is not recorded, or its update cannot be recomputed.
    """
    (arm,) = arms
    trace = Trace(store)
    bars = trace.ask(loads_at, arm.first, settings.layer, settings.step)
    update, rows = bias_updates.update_after(trace.ask, arm.first, settings.layer, settings.step)
    return Panel(
        subject=f"Expert load of layer {settings.layer} at step {settings.step}, seed {arm.first.seed}",
        finding=captions.load_bars(bars),
        how=f"{arm.label}. The dashed line at 1 marks the uniform load ({float(update.mean):g} tokens).",
        spec=specs.make(loads.load_bars(bars, height=220)),
        table=bias_updates.table(update, rows),
        statements=trace.statements,
    )
