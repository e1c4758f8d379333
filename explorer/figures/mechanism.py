"""How the rules act on the routers: router gradients, router margins, routing churn."""

from collections.abc import Callable
from typing import Any

import polars as pl

from explorer.charts import mechanism, mechanism_words, theme
from explorer.charts import spec as specs
from explorer.figures import events, merge
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import EventMarks
from explorer.figures.store import Store, Trace
from explorer.queries import mechanism as queries

BAND = "Lines are means over the layers; the band spans the layers, or the seeds of an arm that has several."


def gradient_norms(store: Store, arms: ArmSet, settings: EventMarks) -> Panel | Missing:
    """Gradient norms at the routers: of the language loss, and of all auxiliary losses."""
    trace = Trace(store)
    frame = _gradients(trace, arms)
    subject = "Router gradient norms"
    if frame.is_empty():
        return Missing(subject=subject, reason=mechanism_words.MISSING)
    return _panel(
        trace,
        arms,
        settings,
        frame,
        mechanism.gradient_norms,
        subject=subject,
        finding=mechanism_words.gradient_norms(frame, labels=arms.names),
        how="Solid lines are the language loss, dashed ones all auxiliary losses with their coefficients. "
        + BAND,
    )


def gradient_cosines(store: Store, arms: ArmSet, settings: EventMarks) -> Panel | Missing:
    """Cosine between the gradients of the language loss and the auxiliary loss at the routers."""
    trace = Trace(store)
    frame = _gradients(trace, arms)
    subject = "Cosine between the two router gradients"
    if frame.is_empty():
        return Missing(subject=subject, reason=mechanism_words.MISSING)
    finding = mechanism_words.gradient_cosines(frame, labels=arms.names)
    return _panel(
        trace,
        arms,
        settings,
        frame,
        mechanism.gradient_cosines,
        subject=subject,
        finding=finding,
        column="cosine",
        how="Below the dashed line the auxiliary loss pulls the routers against the language loss; near it "
        "the two are unrelated. A rule without an auxiliary loss has no line.",
    )


def score_margins(store: Store, arms: ArmSet, settings: EventMarks) -> Panel | Missing:
    """Router margin: how far the last selected expert leads the first rejected one."""
    trace = Trace(store)
    frame = _choices(trace, arms)
    subject, finding = "Router margin", mechanism_words.choices(frame, labels=arms.names)
    return _panel(
        trace,
        arms,
        settings,
        frame,
        mechanism.score_margins,
        subject=subject,
        finding=finding,
        column="margin",
        how=f"Margins include biases, if any. A small margin means that a small change can flip the choice. "
        f"{BAND}",
    )


def bias_switches(store: Store, arms: ArmSet, settings: EventMarks) -> Panel | Missing:
    """The share of assignments that the bias changes."""
    trace = Trace(store)
    frame = _choices(trace, arms)
    subject, finding = "Assignments changed by the bias", mechanism_words.switched(frame, labels=arms.names)
    return _panel(
        trace,
        arms,
        settings,
        frame,
        mechanism.switched_share,
        subject=subject,
        finding=finding,
        column="switched",
        how="Compared with the experts that the scores alone would have selected for the same token.",
    )


def churn(store: Store, arms: ArmSet, settings: EventMarks) -> Panel | Missing:
    """Routing churn: the share of each token's experts that changed since the previous probe."""
    trace = Trace(store)
    series = trace.ask(queries.choice_churn, arms.runs)
    frame = merge.series(series, arms.arms, ["churn"])
    chance = series["chance"].drop_nulls().unique()
    frame = frame.with_columns(chance=pl.lit(chance[0] if len(chance) == 1 else None, dtype=pl.Float64))
    subject, finding = "Routing churn between probes", mechanism_words.churn(frame, labels=arms.names)
    return _panel(
        trace,
        arms,
        settings,
        frame,
        mechanism.churn,
        subject=subject,
        finding=finding,
        column="churn",
        how="The same tokens are routed at a few steps of training. Each point is the share of their "
        "experts that changed since the previous probe; the dashed line is the random-routing baseline.",
    )


def _gradients(trace: Trace, arms: ArmSet) -> pl.DataFrame:
    return merge.series(trace.ask(queries.router_gradients, arms.runs), arms.arms, ["lm", "aux", "cosine"])


def _choices(trace: Trace, arms: ArmSet) -> pl.DataFrame:
    return merge.series(trace.ask(queries.choices, arms.runs), arms.arms, ["margin", "switched"])


def _panel(
    trace: Trace,
    arms: ArmSet,
    event_marks: EventMarks,
    frame: pl.DataFrame,
    chart: Callable[..., theme.Figure],
    *,
    subject: str,
    finding: str,
    how: str,
    column: str | None = None,
) -> Panel | Missing:
    """Chart over training steps, with the drawn arms' events if requested; `Missing` if nothing was recorded.

    column: the drawn column; arms without values in it have no line. None draws every arm.
    """
    lines = frame if column is None else frame.filter(pl.col(column).is_not_null())
    if lines.is_empty():
        return Missing(subject=subject, reason=finding)
    marked, marks = None, ""
    if event_marks.marks:
        marked, marks = events.of_lines(events.of_arms(trace, arms), lines)
    inks: dict[str, Any] = {
        "labels": arms.names,
        "families": arms.families,
        "scopes": arms.scopes,
        "events": marked,
    }
    return Panel(
        subject=subject,
        finding=finding,
        how=how + marks,
        spec=specs.make(chart(frame, **inks)),
        table=frame,
        statements=trace.statements,
    )
