"""Language loss over training: what the balancing costs, and how far the model has come."""

from explorer.charts import captions, losses, theme
from explorer.charts import spec as specs
from explorer.figures import events
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.queries import events as event_queries
from explorer.queries import losses as queries

AT_PLAYHEAD_PX = 240
"""Height of a chart beside the player."""
AT_PLAYHEAD_BINS = 80
"""Points of a line there: enough for its width, few enough to follow the playhead at once."""


def at_playhead(store: Store, arms: ArmSet, _settings: None = None) -> Panel:
    """Language loss (nats per token) of the only run, with the playhead of the page's player.

    Training text in at most 80 bins, and held-out text at every evaluation.
    """
    (arm,) = arms
    run = arm.first
    trace = Trace(store)
    train = trace.ask(queries.loss_series, [run], AT_PLAYHEAD_BINS)
    held_out = trace.ask(queries.eval_series, [run])
    marked = trace.ask(event_queries.events, run)
    labels = {run.run_id: arms.label(arm)}
    chart = losses.loss_curves(
        train,
        held_out,
        labels=labels,
        families={run.run_id: run.family},
        metric="lm_loss",
        log_y=False,
        playhead=theme.Follow.PLAYER,
        events=marked,
        height=AT_PLAYHEAD_PX,
    )
    return Panel(
        subject="Language loss over training",
        finding=captions.loss_curves(train, held_out, labels=labels),
        how="The line is the loss on training text, the points are held-out text. No balancing loss is added."
        + events.marks_note(marked),
        spec=specs.make(chart),
        table=train,
        statements=trace.statements,
    )
