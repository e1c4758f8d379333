"""The Overview page: the story of the shipped comparison, and the table of runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import captions, story
from explorer.glossary import tip
from explorer.ui import cached, events, links, merge, show, specs
from explorer.ui.arms import Arm, Run, arms_key, chart_labels, short_labels
from explorer.ui.chance import baselines, line_note
from explorer.ui.compare_quality import UNTUNED
from explorer.wording import counted

BINS = 100


@dataclass(frozen=True, kw_only=True)
class Story:
    """The picture of the Overview and what is said beside it."""

    chart: specs.Spec
    finding: str
    table: pl.DataFrame
    events: pl.DataFrame
    marks: str
    """What the marks of the events mean."""
    baseline: str
    """What the dashed line is, or why there is none."""


def story_of(arms: Sequence[Arm]) -> Story:
    """Ask and draw it; everything slow is remembered, so the server does this before the first visit."""
    labels = chart_labels(arms)
    families = {arm.token: arm.family for arm in arms}
    runs = cached.versions([run for arm in arms for run in arm.runs])
    frame = merge.series(cached.max_vio_series(runs, max_bins=BINS), arms, ["max_vio"], merge.ENDS)
    marked, marks = events.of_lines(events.of_arms(arms), frame)
    chance = baselines(arms)
    level = chance.known.get("uniform")
    chart = specs.kept(
        ("story", arms_key(arms, labels)),
        partial(
            story.story,
            frame,
            labels=labels,
            families=families,
            reference=level and level[0],
            curve=chance.curve,
            events=marked,
        ),
    )
    finding = captions.max_vio_curves(frame, labels=labels, references=chance.known, baseline_of=chance.arm)
    return Story(
        chart=chart,
        finding=finding,
        table=frame,
        events=marked,
        marks=marks,
        baseline=line_note(chance, labels),
    )


def story_section(arms: Sequence[Arm]) -> None:
    """One picture and the figures behind it."""
    told = story_of(arms)
    st.subheader("How uneven is the work, step by step?", help=tip("max_vio"))
    show.figure(
        told.chart,
        subject="Imbalance over training steps",
        finding=told.finding,
        how="MaxVio is how far the busiest expert lies above the mean load: 0 is perfectly even, 1 means "
        f"twice its share. {told.baseline} {_who(arms)}{told.marks}",
        table=told.table,
        sources=[told.events],
        key="story",
    )
    _cards(arms)


def _who(arms: Sequence[Arm]) -> str:
    """Which runs the picture is made of."""
    first = arms[0].first
    most = max(len(arm.runs) for arm in arms)
    seeds = f"mean of {most} seeds" if most > 1 else "one seed each"
    return f"Preset {first.preset or 'custom'}: {first.sizes}; {seeds}."


def _cards(arms: Sequence[Arm]) -> None:
    """MaxVio and perplexity of every arm, at the end and on held-out text."""
    grid = st.grid(len(arms), min_column_width=170)
    names = short_labels(arms)
    for arm in arms:
        found = cached.summary(cached.versions(arm.runs))
        violation, perplexity = _mean(found["max_vio_global"]), _mean(found["perplexity"])
        with grid:
            st.metric(
                show.plain(names[arm.token]),
                "–" if violation is None else captions.number(violation),
                "no evaluation yet" if perplexity is None else f"perplexity {captions.number(perplexity)}",
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
                help=f"Large: {tip('max_vio_global')} Below: {tip('perplexity')}",
            )
    held_out = baselines(arms).held_out
    chance = (
        ""
        if held_out is None
        else f" Counted over so many tokens, random routing would show {held_out[0]:.2g}; the "
        "baseline in the figure above is that of one step."
    )
    show.note(
        f"{UNTUNED} Large: MaxVio on held-out text at the end of training, mean over layers and seeds. Below "
        f"it: perplexity, lower is better.{chance}"
    )


def _mean(values: pl.Series) -> float | None:
    known = [float(v) for v in values.drop_nulls().to_list()]
    return sum(known) / len(known) if known else None


def runs_section(runs: Sequence[Run]) -> None:
    """Every run with its figures and a link into Replay; unreadable ones with the reason."""
    if not runs:
        return
    st.subheader("The runs")
    for run in runs:
        if not run.is_readable:
            sentence = f"{run.run_id} cannot be read: {run.problem}"
            st.warning(show.plain(sentence), icon=":material/folder_off:")
    readable = [run for run in runs if run.is_readable]
    if not readable:
        return
    figures = {row["run_id"]: row for row in cached.summary(cached.versions(readable)).to_dicts()}
    rows = [_row(run, figures.get(run.run_id, {})) for run in readable]
    if not any(run.title for run in readable):
        rows = [{name: value for name, value in row.items() if name != "name"} for row in rows]
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        height=min(460, 38 + 35 * len(rows)),
        alt=f"Table of {counted(len(rows), 'recorded run')} with their figures",
        column_config={
            "run": st.column_config.LinkColumn("run", display_text=links.RUN_IN_LINK, width=275),
            "name": st.column_config.TextColumn(width=125),
            "balancing": st.column_config.TextColumn(width=125),
            "seed": number(width=50),
            "perplexity": number(format="%.2f", help=tip("perplexity"), width=80),
            "MaxVio held-out": number(format="%.3f", help=tip("max_vio_global"), width=110),
            "worst layer": number(format="%.3f", help=tip("worst_layer"), width=85),
            "MaxVio last steps": number(format="%.3f", help=tip("max_vio_batch"), width=120),
            "steps": number(format="localized", width=55),
            "from": st.column_config.TextColumn(width=80),
        },
    )
    odd = [name for name, row in figures.items() if not math.isfinite(row["perplexity"] or 0.0)]
    if odd:
        show.note(f"Perplexity is not finite (NaN or infinite) and so not in the table: {', '.join(odd)}.")
    show.note("A run's name opens it in Replay, or in Compare where there are no loads to replay.")


def _row(run: Run, figures: dict[str, object]) -> dict[str, object]:
    return {
        "run": links.replay_url(run.run_id) if run.has_loads else links.compare_url(run.run_id),
        "name": run.title,
        "balancing": run.short,
        "seed": run.seed,
        "perplexity": figures.get("perplexity"),
        "MaxVio held-out": figures.get("max_vio_global"),
        "worst layer": figures.get("worst_max_vio"),
        "MaxVio last steps": figures.get("max_vio_batch"),
        "steps": run.last_step + 1,
        "from": ("shipped" if run.shipped else "own") + ("" if run.state == "finished" else f", {run.state}"),
    }
