"""The part of the Compare page that shows how the rules act on the routers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import mechanism, mechanism_words, theme
from explorer.figures.arms import Arm, arms_key
from explorer.metrics.glossary import tip
from explorer.ui.shared import cached, events, merge, show, specs

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
        shown=not frame.is_empty(),
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
        has_cosine = frame["cosine"].null_count() < frame.height
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
            shown=has_cosine,
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
            shown=frame["margin"].null_count() < frame.height,
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
            shown=frame["switched"].null_count() < frame.height,
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
    shown: bool = True,
    sources: Sequence[object] = (),
) -> None:
    """A figure with its sentences; where nothing was recorded, the sentence alone."""
    if not shown:
        show.note(finding)
        return
    show.figure(
        specs.kept((f"mechanism {name}", arms_key(arms, labels)), partial(build, frame, **style)),
        subject=subject,
        finding=finding,
        how=how + events.marks_note(style["events"], several=len(arms) > 1),
        table=frame,
        sources=[style["events"], *sources],
        key=f"mechanism_{name}",
    )
