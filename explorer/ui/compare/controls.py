"""The controls of the Compare page, and the settings that they stand for."""

import streamlit as st

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import short_labels
from explorer.figures.quality import PAIRED
from explorer.figures.views.compare import (
    AXES,
    METRICS,
    PARTS,
    CompareSettings,
    default_base,
    default_part,
    layers_of,
)
from explorer.metrics.glossary import tip
from explorer.ui.compare.sections import fragment_of
from explorer.ui.shared import layers, state, urls

OVER_TIME = "compare_over_time"
WITH_STEPS = (OVER_TIME, *(fragment_of(anchor) for anchor in ("gradients", "margin", "churn")))
"""The fragments with charts over training steps."""
PAIRED_METRICS = "paired_metrics"
"""State of the metrics; the address does not name them."""


def read_address(arms: ArmSet) -> None:
    """Give every control that the address names its value, before any of them is drawn."""
    if offered := layers_of(arms):
        layers.prepare(offered, "these runs")
    urls.prepare_choice(
        "x", AXES, "step", lambda value: f"The link asks for x = {value}; it can be step, tokens or time."
    )
    urls.prepare_choice(
        "part",
        PARTS,
        default_part({"log": log} if (log := urls.values_of("log")) else {}),
        lambda value: f"The link asks for part = {value}; it can be end or whole.",
    )
    urls.prepare_flag("log", True)
    urls.prepare_flag("events", False)
    if len(arms) > 1:
        urls.prepare_choice(
            "base",
            [arm.token for arm in arms],
            default_base(arms),
            lambda value: f"The link compares with “{value}”, which is not among the selected runs.",
        )


def settings(arms: ArmSet) -> CompareSettings:
    """What the controls say now."""
    offered, layer = layers_of(arms), state.value("layer")
    return CompareSettings(
        layer=layer if layer in offered else offered[0] if offered else 0,
        x=state.value("x") or "step",
        events=bool(state.value("events", False)),
        part=state.value("part") or PARTS[0],
        log=bool(state.value("log", True)),
        base=state.value("base") or default_base(arms),
        metrics=tuple(state.value(PAIRED_METRICS, METRICS)),
    )


def layer_control(arms: ArmSet) -> None:
    """The picker of the MoE layer."""
    urls.show_notices("layer")
    layers.control(layers_of(arms), tooltip=None)


def x_control() -> None:
    """The horizontal axis of the curves over training, and whether charts over steps mark events."""
    urls.show_notices("x")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Horizontal axis", AXES, key="x", bind="query-params", required=True)
        if state.value("x") == "step":
            st.toggle(
                "Mark events",
                key="events",
                bind="query-params",
                help=tip("events"),
                on_change=_draw_marked,
            )


def _draw_marked() -> None:
    """The end of the toggle's callback: charts further down have event marks, too."""
    st.rerun(WITH_STEPS)


def part_control() -> None:
    """Which part of the training the chart of perplexity shows, and the scale of all of it."""
    urls.show_notices("part")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        # What a segment is called is what the address says.
        st.segmented_control(
            "Part of the training",
            PARTS,
            key="part",
            bind="query-params",
            required=True,
            help="End: the last quarter, where the differences between runs lie.",
        )
        if state.value("part") == "whole":
            st.toggle("Logarithmic axis", key="log", bind="query-params")


def paired_controls(arms: ArmSet) -> None:
    """The base of the paired differences, and their metrics."""
    urls.show_notices("base")
    names = short_labels(arms.arms)
    urls.selectbox("Compared with", list(names), key="base", width=320, format_func=names.__getitem__)
    # On a line of its own, where pills wrap; beside another control they scroll out of sight.
    st.pills(
        "Metrics",
        list(PAIRED),
        selection_mode="multi",
        default=list(METRICS),
        format_func=lambda name: PAIRED[name],
        key=PAIRED_METRICS,
    )
