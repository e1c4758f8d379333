"""Expert load by domain: which experts serve which kind of text."""

from explorer.charts import captions, domains, linking
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import SortedLayer
from explorer.figures.store import Store, Trace
from explorer.queries import domains as queries


def expert_load(store: Store, arms: ArmSet, settings: SortedLayer) -> Panel | Missing:
    """Held-out load of every expert of one layer by domain, at the last evaluation of the first run."""
    (arm,) = arms
    run, layer, order = arm.first, settings.layer, settings.order
    trace = Trace(store)
    frame = trace.ask(queries.domain_expert, run, layer)
    subject = f"Expert load by domain, held-out text, layer {layer}"
    if frame.is_empty():
        return Missing(subject=subject, reason="No held-out loads by domain were recorded.")
    chart = domains.domain_expert_heatmap(
        frame,
        order=None if order is None else order.experts,
        order_words="" if order is None else order.axis_note,
        scope=linking.scope_of(run.run_id, layer),
    )
    return Panel(
        subject=subject,
        finding=captions.domain_expert_heatmap(frame),
        how=f"Held-out text at the last evaluation, layer {layer}. A row of even colour is a domain without "
        "specialists.",
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )
