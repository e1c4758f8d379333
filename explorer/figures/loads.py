"""Expert load: who receives the tokens."""

from explorer.charts import captions, heatmaps, linking
from explorer.charts import spec as specs
from explorer.figures import events
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import OneLayer
from explorer.figures.store import Store, Trace
from explorer.queries import loads as queries

SMALL_PX = 230
"""Height of a heatmap where several stand under each other."""
HEATMAP_HOW = (
    "One row per expert, time to the right. Orange is overloaded, purple under-loaded, and the colours "
    "mean the same in every panel. Expert 3 of one run is not expert 3 of another: compare patterns, "
    "not rows."
)


def heatmap(store: Store, arms: ArmSet, settings: OneLayer) -> Panel | Missing:
    """Load of every expert of one layer over training, in the first run of the only arm."""
    (arm,) = arms
    name, run, layer = arms.one_seed(arm), arm.first, settings.layer
    trace = Trace(store)
    frame = trace.ask(queries.load_heatmap, run, layer, settings.bins)
    marked = events.of_layer(trace, run, layer)
    chart = specs.make(
        heatmaps.load_heatmap(
            frame,
            title=name,
            height=SMALL_PX,
            events=marked,
            scope=linking.scope_of(run.run_id, layer),
        )
    )
    return Panel(
        subject=f"Expert load of {name}, layer {layer}",
        finding=captions.load_heatmap(frame),
        how=HEATMAP_HOW + events.marks_note(marked),
        spec=chart,
        on_page=specs.without_legend(chart),
        table=frame,
        statements=trace.statements,
    )


def busiest_experts(store: Store, arms: ArmSet, settings: OneLayer) -> str:
    """One sentence that compares the heatmaps of these arms at their last step."""
    trace = Trace(store)
    frames = {
        arms.one_seed(arm): trace.ask(queries.load_heatmap, arm.first, settings.layer, settings.bins)
        for arm in arms
    }
    return captions.compare_heatmaps(frames)


def event_kinds(store: Store, arms: ArmSet, settings: OneLayer) -> set[str]:
    """The kinds of events marked above these heatmaps."""
    trace = Trace(store)
    return {kind for arm in arms for kind in events.of_layer(trace, arm.first, settings.layer)["kind"]}
