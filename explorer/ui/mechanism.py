"""The part of the Compare page that shows how the rules act on the routers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import mechanism, mechanism_words, theme
from explorer.glossary import tip
from explorer.ui import cached, events, merge, show, specs
from explorer.ui.arms import Arm, arms_key

BAND = (
    "Lines are means over the layers; the band reaches from the lowest to the highest layer, or seed "
    "where there are several."
)


def section(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Gradients at the routers, how close the choices are, and how often they change."""
    runs = cached.versions([run for arm in arms for run in arm.runs])
    families = {arm.token: arm.family for arm in arms}
    style = {"labels": labels, "families": families, "events": events.of_arms(arms)}
    _gradients(arms, labels, merged(cached.router_gradients(runs), arms, ["lm", "aux", "cosine"]), style)
    _choices(arms, labels, merged(cached.choices(runs), arms, ["margin", "switched"]), style)
    churn = cached.choice_churn(runs)
    frame = merged(churn, arms, ["churn"])
    chance = churn["chance"].drop_nulls().unique()
    frame = frame.with_columns(chance=pl.lit(chance[0] if len(chance) == 1 else None, dtype=pl.Float64))
    st.subheader("How many tokens change their experts?", help=tip("churn"))
    _figure(
        "churn",
        arms,
        labels,
        frame,
        mechanism.churn,
        mechanism_words.churn(frame, labels=labels),
        style,
        subject="Choices changed between probes",
        how="The same tokens are routed at a few steps of the training; a point says how many of their "
        "experts are others than at the point before. The dashed line is what unrelated choices would show.",
        column="churn",
        sources=(churn,),
    )


def merged(frame: pl.DataFrame, arms: Sequence[Arm], columns: list[str]) -> pl.DataFrame:
    """Seeds of an arm become one line."""
    return merge.series(frame, arms, columns)


def _gradients(
    arms: Sequence[Arm], labels: dict[str, str], frame: pl.DataFrame, style: dict[str, Any]
) -> None:
    st.subheader("What pulls the routers?", help=tip("router_gradient"))
    if frame.is_empty():
        show.note(mechanism_words.MISSING)
        return
    left, right = show.in_columns(2)
    with left:
        _figure(
            "norms",
            arms,
            labels,
            frame,
            mechanism.gradient_norms,
            mechanism_words.gradient_norms(frame, labels=labels),
            style,
            subject="Gradient norms at the routers",
            how="Whole lines: the language loss. Dashed: all auxiliary losses with their coefficients. "
            + BAND,
        )
    with right:
        _figure(
            "cosine",
            arms,
            labels,
            frame,
            mechanism.gradient_cosines,
            mechanism_words.gradient_cosines(frame, labels=labels),
            style,
            subject="Cosine between both gradients",
            how="Below the dashed line an auxiliary loss pulls the routers against the language loss; "
            "around it the two are unrelated. A rule without an auxiliary loss has no line: nothing pulls "
            "beside the language loss.",
            column="cosine",
        )


def _choices(arms: Sequence[Arm], labels: dict[str, str], frame: pl.DataFrame, style: dict[str, Any]) -> None:
    st.subheader("How close are the choices?", help=tip("score_margin"))
    left, right = show.in_columns(2)
    with left:
        _figure(
            "margin",
            arms,
            labels,
            frame,
            mechanism.score_margins,
            mechanism_words.choices(frame, labels=labels),
            style,
            subject="Score margins",
            how=f"Bias included, where there is one. A small margin is a choice that little can turn. {BAND}",
            column="margin",
        )
    with right:
        _figure(
            "switched",
            arms,
            labels,
            frame,
            mechanism.switched_share,
            mechanism_words.switched(frame, labels=labels),
            style,
            subject="Assignments changed by the bias",
            how="Against the experts that the scores alone would have chosen for the same token.",
            column="switched",
        )


def _figure(
    name: str,
    arms: Sequence[Arm],
    labels: dict[str, str],
    frame: pl.DataFrame,
    build: Callable[..., theme.Figure],
    finding: str,
    style: dict[str, Any],
    *,
    subject: str,
    how: str,
    column: str | None = None,
    sources: Sequence[object] = (),
) -> None:
    """A figure with its sentences; where nothing was recorded, the sentence alone.

    column: what is drawn; a run without it has no line. None draws every run of the frame.
    """
    lines = frame if column is None else frame.filter(pl.col(column).is_not_null())
    if lines.is_empty():
        show.note(finding)
        return
    marked, marks = events.of_lines(style["events"], lines)
    build = partial(build, frame, **{**style, "events": marked})
    show.figure(
        specs.kept((f"mechanism {name}", arms_key(arms, labels)), build),
        subject=subject,
        finding=finding,
        how=how + marks,
        table=frame,
        sources=[marked, *sources],
        key=f"mechanism_{name}",
    )
