"""Loss and perplexity over training."""

from typing import Any

import polars as pl

from explorer.charts import captions, losses, theme
from explorer.charts import spec as specs
from explorer.figures import events, merge
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Panel
from explorer.figures.settings import LossOverTime, OverTime
from explorer.figures.store import Store, Trace
from explorer.queries import events as event_queries
from explorer.queries import losses as queries

HOW = "Lines are training text; points are held-out text, averaged with equal weight per domain."
END_HOW = (
    "The last quarter of training. Bold lines join the evaluations on held-out text, averaged with equal "
    "weight per domain; pale lines are training text."
)
AT_PLAYHEAD_PX = 240
"""Height of a chart beside the player."""
AT_PLAYHEAD_BINS = 80
"""Points of a line there: enough for its width, few enough to follow the playhead at once."""


def perplexity(store: Store, arms: ArmSet, settings: OverTime) -> Panel:
    """Perplexity over training: lines for the training text, points for held-out text.

    settings: `OverTime`, or `LossOverTime` for the last quarter alone.
    """
    trace = Trace(store)
    series = trace.ask(queries.loss_series, arms.runs, settings.bins, settings.x)
    train = merge.up_to(merge.series(series, arms.arms, ["lm_loss", "perplexity"]), settings.until)
    evals = trace.ask(queries.eval_series, arms.runs, settings.x)
    held = merge.up_to(merge.evals(evals, arms.arms), settings.until, "step")
    marked, marks = events.over_time(trace, arms, settings, train)
    end = "" if settings.until is None else f" Shown up to step {settings.until}."
    since = last_quarter(train, held) if isinstance(settings, LossOverTime) and settings.is_end_only else None
    return _panel(
        trace,
        arms,
        train,
        held,
        subject="Perplexity over training",
        how=(HOW if since is None else END_HOW) + f" Lower is better.{end}{marks if since is None else ''}",
        table=held,
        x_title=theme.AXIS[settings.x],
        log_y=settings.log_y,
        since=since,
        events=marked if since is None else None,
        height=settings.height,
    )


def last_quarter(train: pl.DataFrame, held_out: pl.DataFrame) -> float | None:
    """Where the last quarter of the x axis begins, or earlier, so that three evaluations lie in it.

    None where there is nothing to shorten.
    """
    positions = train["x"].drop_nulls()
    if positions.is_empty():
        return None
    first, last = float(positions.min()), float(positions.max())  # type: ignore[arg-type]
    evaluated = held_out["x"].drop_nulls().unique().sort().tail(3).to_list()
    return min([first + 0.75 * (last - first), *map(float, evaluated)])


def at_playhead(store: Store, arms: ArmSet, _settings: None = None) -> Panel:
    """Language loss (nats per token) of the only run, with the playhead of the page's player.

    Training text in at most 80 bins, and held-out text at every evaluation.
    """
    (arm,) = arms
    trace = Trace(store)
    train = trace.ask(queries.loss_series, arms.runs, AT_PLAYHEAD_BINS)
    held_out = trace.ask(queries.eval_series, arms.runs)
    marked = trace.ask(event_queries.events, arm.first)
    return _panel(
        trace,
        arms,
        train,
        held_out,
        subject="Language loss over training",
        how="The line is the loss on training text, the points are held-out text. No balancing loss is added."
        + events.marks_note(marked),
        table=train,
        metric="lm_loss",
        log_y=False,
        playhead=theme.Follow.PLAYER,
        events=marked,
        height=AT_PLAYHEAD_PX,
    )


def of_expert_choice(store: Store, arms: ArmSet, settings: None) -> Panel:
    """Language loss over training for arms of one run each, expert choice among them.

    In the form of Figure 9 of the Loss-Free Balancing paper (Wang et al. 2024).
    """
    trace = Trace(store)
    train = trace.ask(queries.loss_series, arms.runs)
    held_out = trace.ask(queries.eval_series, arms.runs)
    return _panel(
        trace,
        arms,
        train,
        held_out,
        subject="Training loss of expert choice and of token choice",
        how="Lines are training text, points held-out text. A leak would lower the line of expert choice "
        "against the others; it says nothing about the text that such a model generates, where later tokens "
        "do not exist yet.",
        table=train,
        metric="lm_loss",
        log_y=False,
    )


def _panel(
    trace: Trace,
    arms: ArmSet,
    train: pl.DataFrame,
    held_out: pl.DataFrame,
    *,
    subject: str,
    how: str,
    table: pl.DataFrame,
    **look: Any,
) -> Panel:
    """train, held_out: rows of each arm, its token as run_id; look: of `charts.losses.loss_curves`."""
    chart = losses.loss_curves(
        train, held_out, labels=arms.names, families=arms.families, scopes=arms.scopes, **look
    )
    return Panel(
        subject=subject,
        finding=captions.loss_curves(train, held_out, labels=arms.names),
        how=how,
        spec=specs.make(chart),
        table=table,
        statements=trace.statements,
    )
