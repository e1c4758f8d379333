"""Expert load by domain: which experts serve which kind of text."""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from explorer.charts import captions, domains, linking
from explorer.charts import spec as specs
from explorer.figures import many_experts
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import OneLayer, SortedLayer
from explorer.figures.store import Store, Trace
from explorer.queries import domains as queries

SPECIALISTS = 32
"""Experts of a layer with very many that are drawn by domain."""
OF_ARM_PX = 156
"""Height where the charts of several arms stand under each other."""
_EVEN = "A row of uniform colour is a domain without specialist experts."


@dataclass(frozen=True, kw_only=True)
class LayerDomains(OneLayer):
    """Held-out loads of one MoE layer by domain, one of several charts under each other."""

    how: bool = True
    """Whether the panel says how to read it; only the last one does."""


def expert_load(store: Store, arms: ArmSet, settings: SortedLayer) -> Panel | Missing:
    """Held-out load of every expert of one layer by domain, at the last evaluation of the first run."""
    (arm,) = arms
    run, layer, order = arm.first, settings.layer, settings.order
    trace = Trace(store)
    frame = trace.ask(queries.domain_expert, run, layer)
    subject = f"Expert load by domain, held-out text, layer {layer}"
    if frame.is_empty():
        return Missing(subject=subject, reason="No held-out loads by domain were recorded.")
    rows, left_out = specialists(frame, run.width(layer))
    experts = set(rows["expert"])
    panel = _panel(
        trace,
        frame,
        rows=rows,
        subject=subject,
        how=f"Held-out text at the last evaluation, layer {layer}. {_EVEN}{left_out}",
        order=None if order is None else [expert for expert in order.experts if expert in experts],
        order_words="" if order is None else order.axis_note,
        scope=linking.scope_of(run.run_id),
    )
    # A page explains the colours in its own line, which has room on a phone.
    return replace(panel, on_page=specs.without_legend(panel.spec))


def expert_load_of_arm(store: Store, arms: ArmSet, settings: LayerDomains) -> Panel:
    """The same under the label of the arm, without a colour legend: several charts share one."""
    (arm,) = arms
    label, trace = arms.label(arm), Trace(store)
    how = (
        f"Layer {settings.layer}, seed {arm.first.seed}: each row is the held-out text of one domain. "
        f"{_EVEN} Compare patterns, not expert numbers."
        if settings.how
        else ""
    )
    panel = _panel(
        trace,
        trace.ask(queries.domain_expert, arm.first, settings.layer),
        subject=f"Expert load by domain: {label}, layer {settings.layer}, seed {arm.first.seed}",
        how=how,
        title=arms.names[arm.token],
        height=OF_ARM_PX,
    )
    return replace(panel, spec=specs.without_legend(panel.spec))


def specialists(frame: pl.DataFrame, experts: int) -> tuple[pl.DataFrame, str]:
    """The rows to draw, and which are left out: very many experts are drawn by their load in one domain."""
    if experts <= many_experts.MOST:
        return frame, ""
    peak = frame.group_by("expert").agg(pl.col("load_ratio").fill_nan(None).max())
    few = peak.sort("load_ratio", "expert", descending=[True, False], nulls_last=True).head(SPECIALISTS)
    note = (
        f" Drawn are the {SPECIALISTS} experts with the largest load in one domain, of {experts:,}; sentence "
        "and table cover all."
    )
    return frame.filter(pl.col("expert").is_in(few["expert"].to_list())), note


def _panel(
    trace: Trace,
    frame: pl.DataFrame,
    *,
    subject: str,
    how: str,
    rows: pl.DataFrame | None = None,
    **look: Any,
) -> Panel:
    """drawn: the rows of the chart if not all; look: of `charts.domains.domain_expert_heatmap`."""
    return Panel(
        subject=subject,
        finding=captions.domain_expert_heatmap(frame),
        how=how,
        spec=specs.make(domains.domain_expert_heatmap(frame if rows is None else rows, **look)),
        table=frame,
        statements=trace.statements,
    )
