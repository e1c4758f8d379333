"""Expert load by domain: which experts serve which kind of text."""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from explorer.charts import captions, domains, linking
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import OneLayer, SortedLayer
from explorer.figures.store import Store, Trace
from explorer.queries import domains as queries

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
    panel = _panel(
        trace,
        frame,
        subject=subject,
        how=f"Held-out text at the last evaluation, layer {layer}. {_EVEN}",
        order=None if order is None else order.experts,
        order_words="" if order is None else order.axis_note,
        scope=linking.scope_of(run.run_id),
    )
    # A page explains the colours in its own line, which has room on a phone.
    return replace(panel, on_page=specs.without_legend(panel.spec))


def expert_load_of_arm(store: Store, arms: ArmSet, settings: LayerDomains) -> Panel:
    """The same under the label of the arm, with its colours unexplained: several charts share a legend."""
    (arm,) = arms
    label, trace = arms.label(arm), Trace(store)
    how = (
        f"Each row is the held-out text of one domain. {_EVEN} Compare patterns, not expert numbers."
        if settings.how
        else ""
    )
    panel = _panel(
        trace,
        trace.ask(queries.domain_expert, arm.first, settings.layer),
        subject=f"Expert load by domain: {label}, layer {settings.layer}, seed {arm.first.seed}",
        how=how,
        title=label,
        height=OF_ARM_PX,
    )
    return replace(panel, spec=specs.without_legend(panel.spec))


def _panel(trace: Trace, frame: pl.DataFrame, *, subject: str, how: str, **look: Any) -> Panel:
    """look: of `charts.domains.domain_expert_heatmap`."""
    return Panel(
        subject=subject,
        finding=captions.domain_expert_heatmap(frame),
        how=how,
        spec=specs.make(domains.domain_expert_heatmap(frame, **look)),
        table=frame,
        statements=trace.statements,
    )
