"""What belongs to a layer as a whole: domains against experts for several methods, choices that settle."""

import math
from collections.abc import Sequence
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import domain_panels
from explorer.charts import microscope as charts
from explorer.figures.arms import Arm, Run, chart_labels
from explorer.metrics.glossary import tip
from explorer.ui.microscope import queries as cached_probe
from explorer.ui.microscope import text as microscope_words
from explorer.ui.shared import cached, show, specs


def section(arms: Sequence[Arm], layer: int) -> None:
    """Held-out loads by domain, one panel an arm of the run picker, in the form of DeepSeek-V3's Figure 9."""
    st.subheader("Do methods make specialists?", help=tip("figure_nine"))
    labels = chart_labels(arms)
    frames = {
        arm: frame
        for arm in arms
        if arm.first.has_loads
        and layer in arm.first.layers
        and not (frame := cached.domain_expert(arm.first.version, layer)).is_empty()
    }
    if not frames:
        show.note(
            "None of the runs to compare has held-out loads by domain in this layer; choose others in the "
            "sidebar."
        )
        return
    found = {arm: cached_probe.last_specialisation(arm.first.version, layer) for arm in frames}
    distances = [(labels[arm.token], {run.seed: _distance(run) for run in arm.runs}) for arm in frames]
    st.markdown(show.plain(microscope_words.methods(distances)))
    top = domain_panels.highest(list(frames.values()))
    scale_legend(top)
    for place, (arm, frame) in zip(show.in_columns(len(frames)), frames.items(), strict=True):
        row = None if found[arm].is_empty() else found[arm].row(0, named=True)
        with place:
            show.figure(
                specs.kept(
                    ("figure nine", arm.first.version, layer, round(top, 6), labels[arm.token]),
                    partial(domain_panels.domain_panel, frame, top=top, title=labels[arm.token]),
                ),
                subject=f"Load over balanced load by domain with {labels[arm.token]}, layer {layer}",
                finding=microscope_words.panel(frame, row),
                how=f"{arm.first.run_id}, held-out text at its last evaluation, layer {layer}; the sentence "
                "above is about all layers and seeds.",
                table=frame,
                sources=(found[arm],),
                key=f"figure_nine_{arm.token}",
            )
    show.note(
        "A row of even colour is a domain that all experts serve alike. Expert numbers mean nothing across "
        "runs, so compare how uneven rows are, and not columns."
    )


def _distance(run: Run) -> float:
    """Mean distance of two domains at the last evaluation, mean over layers; NaN where it is unknown."""
    found = cached.specialisation(run.version)
    last = found.filter(pl.col("step") == pl.col("step").max())["mean_distance"].drop_nulls()
    return float(last.mean()) if len(last) else math.nan  # type: ignore[arg-type]


def scale_legend(top: float) -> None:
    """The linear scale of all panels once, with the balanced load marked on it."""
    dark = st.context.theme.type == "dark"
    inks = ",".join(ink.pick(dark) for ink in domain_panels.SEQUENTIAL)
    at, whole = f"{100 / top:.2f}%", "display:block;position:relative"
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.4rem 1rem;font-size:.8rem">'
        f'<span>load / balanced load</span><span style="width:20rem"><span style="{whole}">'
        f'<span style="display:block;height:.7rem;background:linear-gradient(90deg,{inks})"></span>'
        f'<span style="position:absolute;left:{at};top:-.15rem;height:1rem;border-left:2px solid"></span>'
        f'</span><span style="{whole};height:1.2rem;margin-top:.2rem">'
        f"{_mark('0', '0', '0')}{_mark('100%', '-100%', f'{top:.1f}')}{_mark(at, '-50%', '1 = balanced')}"
        "</span></span></div>"
    )


def _mark(left: str, shift: str, words: str) -> str:
    style = f"position:absolute;left:{left};transform:translateX({shift});white-space:nowrap"
    return f'<span style="{style}">{words}</span>'


def settling(run: Run, layer: int) -> None:
    """How early the final choice was made."""
    st.subheader("When are the choices made?", help=tip("saturation"))
    frame = cached_probe.saturation(run.version)
    show.figure(
        specs.kept(("microscope settling", run.version, layer), partial(charts.settling, frame, layer=layer)),
        subject=f"Choices of {run.label} already made at each probe",
        finding=microscope_words.settling(frame, layer),
        how="The experts of the same tokens at the last probe are compared with those at every probe before. "
        "Bold: the chosen layer. Faint: the others.",
        table=frame,
        key="microscope_settling",
    )
