"""Progress of the runs in training."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import polars as pl

from explorer import metrics
from explorer.charts import balance, captions, losses, switches, theme
from explorer.charts import spec as specs
from explorer.config.run import RunConfig
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.rule_names import short_rules
from explorer.figures.store import Store, Trace
from explorer.queries import balance as balance_queries
from explorer.queries import losses as loss_queries

BINS = 100
HEIGHT = 280


def max_vio(store: Store, arms: ArmSet, _settings: None) -> Panel:
    """MaxVio of single runs so far, with the changes of their rules."""
    trace = Trace(store)
    frame = trace.ask(balance_queries.max_vio_series, arms.runs, max_bins=BINS)
    labels = arms.names
    draw = partial(
        balance.max_vio_curves,
        frame,
        labels=labels,
        families=arms.families,
        scopes=arms.scopes,
        references=random_routing(arms.runs),
        height=HEIGHT,
    )
    return Panel(
        subject="MaxVio of the runs in training",
        finding=standing(frame, "max_vio", labels),
        how="How far the busiest expert lies above the uniform load; 0 is even. The dashed line is the "
        "random-routing baseline of independent tokens.",
        spec=_with_changes(draw, arms),
        table=frame,
        statements=trace.statements,
    )


def random_routing(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """Mean and 95th percentile of MaxVio under random routing, as `charts.balance` takes it.

    From the sizes in the configurations, since every tick draws it anew. Empty where the runs differ in size
    or a size is not known.
    """
    sizes = {(run.num_experts, run.top_k, run.tokens_per_step, run.num_moe_layers) for run in runs}
    if len(sizes) != 1 or not all(next(iter(sizes))):
        return {}
    return {"uniform": metrics.uniform_reference(*next(iter(sizes)))}


def language_loss(store: Store, arms: ArmSet, _settings: None) -> Panel:
    """Language loss of single runs so far, with the changes of their rules."""
    trace = Trace(store)
    frame = trace.ask(loss_queries.loss_series, arms.runs, max_bins=BINS)
    labels = arms.names
    draw = partial(
        losses.loss_curves,
        frame,
        labels=labels,
        families=arms.families,
        scopes=arms.scopes,
        metric="lm_loss",
        log_y=False,
        height=HEIGHT,
    )
    return Panel(
        subject="Language loss of the runs in training",
        finding=standing(frame, "lm_loss", labels),
        how="Nats per token on the training text; lower is better.",
        spec=_with_changes(draw, arms),
        table=frame,
        statements=trace.statements,
    )


def _with_changes(draw: Callable[..., theme.Figure], arms: ArmSet) -> specs.Spec:
    last = max(run.last_step for run in arms.runs)
    return specs.make(switches.with_changes(draw, changes(arms), last))


def changes(arms: ArmSet) -> pl.DataFrame:
    """Rule changes that have taken effect: run_id, family, step and the new rule in short."""
    rows = [
        (run.run_id, run.family, change.step, short_rules(change.rules))
        for run in arms.runs
        for change in RunConfig.from_dict(json.loads(run.config)).balancer.schedule
        if change.step <= run.last_step
    ]
    return pl.DataFrame(rows, schema=switches.SCHEMA, orient="row")


def standing(frame: pl.DataFrame, column: str, labels: Mapping[str, str]) -> str:
    """The latest value of every run, in the order of the legend."""
    rows = frame.drop_nulls(column).sort("bin")
    last = rows.group_by("run_id", maintain_order=True).last()
    parts = [
        f"{labels[r]}: {captions.number(v)} ({'step' if a == b else f'mean of steps {a} to'} {b})"
        for r, a, b, v in last.select("run_id", "first_step", "last_step", column).rows()
        if r in labels
    ]
    return f"Now: {'; '.join(parts)}." if parts else captions.NOTHING
