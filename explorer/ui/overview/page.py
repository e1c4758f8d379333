"""The Overview page: the shipped comparison in one picture, and the table of runs."""

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from explorer.charts import captions
from explorer.figures import final
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run, short_labels
from explorer.figures.balance import random_baselines
from explorer.figures.quality import UNTUNED
from explorer.figures.store import Trace
from explorer.figures.views import overview
from explorer.metrics.glossary import tip
from explorer.queries import comparison
from explorer.ui.shared import links, show, store
from explorer.wording import counted


def story_section(selected: Sequence[Arm]) -> None:
    """One picture, and two metrics of every arm under it."""
    arms = ArmSet.of(selected)
    st.subheader("Imbalance (MaxVio) over training", help=tip("max_vio"))
    show.question(overview.story(arms))
    _cards(arms)


def _cards(arms: ArmSet) -> None:
    """MaxVio and perplexity of every arm, at the end and on held-out text."""
    grid = st.grid(len(arms), min_column_width=170)
    names = short_labels(arms.arms)
    for arm in arms:
        headline = final.headline(store.STORE, arm)
        with grid:
            st.metric(
                show.plain(names[arm.token]),
                final.UNKNOWN if headline.max_vio is None else captions.number(headline.max_vio),
                "no evaluation yet"
                if headline.perplexity is None
                else f"perplexity {captions.number(headline.perplexity)}",
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
                help=f"Large: {tip('max_vio_global')} Below: {tip('perplexity')}",
            )
    held_out = random_baselines(Trace(store.STORE), arms).held_out
    baseline = (
        ""
        if held_out is None
        else f" Counted over so many tokens, random routing would show {held_out[0]:.2g}; the "
        "baseline in the chart above is that of one step."
    )
    show.note(
        f"{UNTUNED} Large: MaxVio on held-out text at the end of training, mean over layers and seeds. Below "
        f"it: perplexity, lower is better.{baseline}"
    )


def runs_section(runs: Sequence[Run]) -> None:
    """Every run with its metrics and a link into Replay; unreadable ones with the reason."""
    if not runs:
        return
    st.subheader("Recorded runs")
    for run in runs:
        if not run.is_readable:
            sentence = f"{run.run_id} cannot be read: {run.problem}"
            st.warning(show.plain(sentence), icon=":material/folder_off:")
    readable = [run for run in runs if run.is_readable]
    if not readable:
        return
    summary = store.ask(comparison.summary, tuple(readable))
    metrics = {row["run_id"]: row for row in summary.to_dicts()}
    rows = [_row(run, metrics.get(run.run_id, {})) for run in readable]
    if not any(run.title for run in readable):
        rows = [{name: value for name, value in row.items() if name != "name"} for row in rows]
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        height=min(460, 38 + 35 * len(rows)),
        alt=f"Table of {counted(len(rows), 'recorded run')} with their metrics",
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
    odd = [name for name, row in metrics.items() if not math.isfinite(row["perplexity"] or 0.0)]
    if odd:
        show.note(f"Perplexity is not finite (NaN or infinite) and so not in the table: {', '.join(odd)}.")
    show.note("A run's name opens it in Replay, or in Compare where there are no loads to replay.")


def _row(run: Run, metrics: Mapping[str, object]) -> dict[str, object]:
    """A row of the table; metrics: that of `queries.comparison.summary`, empty for none."""
    return {
        "run": links.replay_url(run.run_id) if run.has_loads else links.compare_url(run.run_id),
        "name": run.title,
        "balancing": run.short,
        "seed": run.seed,
        "perplexity": metrics.get("perplexity"),
        "MaxVio held-out": metrics.get("max_vio_global"),
        "worst layer": metrics.get("worst_max_vio"),
        "MaxVio last steps": metrics.get("max_vio_batch"),
        "steps": run.last_step + 1,
        "from": ("shipped" if run.shipped else "own") + ("" if run.state == "finished" else f", {run.state}"),
    }
