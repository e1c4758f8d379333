"""The second half of the Compare page: balance against quality, and which differences are real."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import captions, differences, plane, ranking
from explorer.glossary import tip
from explorer.metrics import pair_verdicts
from explorer.ui import cached, picker, show, specs, urls
from explorer.ui.arms import Arm

PAIRED = {
    "perplexity": "perplexity",
    "lm_loss": "held-out loss (nats per token)",
    "max_vio_global": "MaxVio held-out",
    "max_vio_batch": "MaxVio last steps",
    "worst_max_vio": "MaxVio of the worst layer",
}


UNTUNED = (
    "Strengths (α, u) are as given and were not tuned for each rule, so a difference is one between these "
    "settings."
)


def plane_section(arms: Sequence[Arm]) -> None:
    """Perplexity against imbalance, over the chosen runs and the shipped ones of the same experiment."""
    st.subheader("Balance against quality", help=tip("dilemma_plane"))
    chosen = dict.fromkeys(run for arm in arms for run in arm.runs)
    keys = {run.experiment for run in chosen}
    for run in picker.all_runs():
        if run.shipped and run.state == "finished" and run.is_readable and run.experiment in keys:
            chosen.setdefault(run)
    versions = cached.versions(list(chosen))
    frame = cached.summary(versions)
    show.figure(
        specs.kept(("plane", versions), partial(plane.dilemma_plane, frame)),
        subject="Perplexity against MaxVio of the held-out set",
        finding=ranking.dilemma_plane(frame),
        how="Lower left is better in both. Small points are runs, large ones are means over seeds with their "
        "95 % intervals; strengths of one rule are joined by a line. Shipped runs of the same experiment are "
        "added to your choice. A MaxVio of exactly 0, as of expert choice, stands at the left edge."
        + not_drawn(frame)
        + f" {UNTUNED}",
        table=frame,
        key="compare_plane",
    )


def not_drawn(summary: pl.DataFrame) -> str:
    """Which runs have no place in the plane since a figure of theirs is NaN or infinite; nothing for none."""
    odd = pl.any_horizontal(~pl.col("perplexity", "max_vio_global").cast(pl.Float64).is_finite())
    names = summary.filter(odd.fill_null(False))["run_id"].to_list()
    return f" Not drawn, since a figure is not finite: {', '.join(names)}." if names else ""


@st.fragment
def paired_panel(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Differences between arms, seed by seed; never between an expert of one run and one of another."""
    st.subheader("Which differences are real?", help=tip("paired_interval"))
    if len(arms) < 2:
        show.note("A difference needs two runs.")
        return
    tokens = [arm.token for arm in arms]
    start = next((arm.token for arm in arms if arm.family == "aux_loss"), tokens[0])
    urls.settle(
        "base",
        tokens,
        start,
        lambda value: f"The link compares with “{value}”, which is not among the chosen runs.",
    )
    urls.show_notices("base")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        urls.selectbox("Compared with", tokens, key="base", width=320)
        metrics = st.pills(
            "Figures",
            list(PAIRED),
            selection_mode="multi",
            default=["perplexity", "max_vio_global"],
            format_func=lambda name: PAIRED[name],
            key="paired_metrics",
        )
    base = next(arm for arm in arms if arm.token == st.session_state["base"])
    others = [arm for arm in arms if arm is not base]
    rows = [row for metric in metrics for row in verdict_rows(arms, base, labels, metric)]
    found = [
        cached.paired(cached.versions(arm.runs), cached.versions(base.runs), metric)
        for metric in metrics
        for arm in others
    ]
    table = pl.DataFrame([{k: v for k, v in row.items() if k != "values"} for row in rows])
    show.figure(
        specs.make(differences.paired_differences(rows)),
        subject=f"Differences from {labels[base.token]}",
        finding=captions.paired_differences(rows),
        how=f"Each tick is one seed: its figure minus that of “{labels[base.token]}” from {origin(arms)}. "
        "The bar is the 95 % t interval; one that covers 0 is not significant. Holm's correction counts all "
        f"pairs of the chosen arms, figure by figure, so the verdict does not depend on the base. {UNTUNED}",
        table=table if rows else None,
        sources=found,
        key="compare_paired",
    )
    if rows:
        show.note(" ".join(resolutions(rows)))


def paired_rows(
    others: Sequence[Arm], base: Arm, labels: dict[str, str], metric: str
) -> list[dict[str, Any]]:
    """One row an arm, as `charts.paired_differences` takes them; arms without a common seed are left out."""
    rows = []
    for arm in others:
        found = cached.paired(cached.versions(arm.runs), cached.versions(base.runs), metric)
        if found.mean is not None:
            rows.append(
                {
                    "metric": PAIRED[metric],
                    "arm": labels[arm.token],
                    "mean": found.mean,
                    "half_width": found.half_width,
                    "resolved": found.resolved,
                    "p_value": found.p_value,
                    "values": list(found.differences.values()),
                    "seeds": found.n,
                    "family": arm.family,
                }
            )
    return rows


def origin(arms: Sequence[Arm]) -> str:
    """What the two runs of a pair have in common. Runs on texts that are known to differ are no pairs."""
    known = all(run.corpus_digest for arm in arms for run in arm.runs)
    return "the same weights and data" if known else "the same seed and configuration"


def verdict_rows(arms: Sequence[Arm], base: Arm, labels: dict[str, str], metric: str) -> list[dict[str, Any]]:
    """`paired_rows` of all arms but the base, with Holm's verdict among all pairs of these arms."""
    by_token = {arm.token: cached.versions(arm.runs) for arm in arms}
    verdicts = pair_verdicts(
        list(by_token), lambda a, b: cached.paired(by_token[a], by_token[b], metric).p_value
    )
    return [
        {**row, "survives": verdicts.survives(arm.token, base.token), "comparisons": verdicts.comparisons}
        for arm in arms
        if arm is not base
        for row in paired_rows([arm], base, labels, metric)
    ]


def resolutions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How small a difference can be and still be significant, one sentence per figure."""
    said = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        here = [row for row in rows if row["metric"] == metric]
        widths = [row["half_width"] for row in here if row["half_width"] is not None]
        if widths:
            finest, coarsest = min(widths), max(widths)
            ends = dict.fromkeys(f"{width:.2g}" for width in (finest, coarsest))
            reach = " to ".join(ends)
            said.append(f"Resolution in {metric}: ±{reach}. Smaller differences are not significant here.")
        else:
            said.append(
                f"{metric[0].upper()}{metric[1:]}: one seed, so there is no interval and nothing is tested."
            )
    return said
