"""Findings for the charts of `charts.mechanism`. Plain text, no markup."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from explorer.charts.captions import number
from explorer.wording import and_list, counted, signed

MISSING = (
    "None of these runs has recorded the gradients at its routers; older versions did not measure them. "
    "Train again to see them."
)
HOW_TO_PROBE = (
    "A run keeps a probe batch if it trains with “probe tokens” set to 1024 (Train page, Training; on the "
    "command line --set training.probe_tokens=1024)."
)
"""How a run gets a probe batch."""


def _names(labels: Mapping[str, str] | None, run_ids: list[str]) -> dict[str, str]:
    return {run_id: (labels or {}).get(run_id, run_id) for run_id in run_ids}


def _means(frame: pl.DataFrame, *columns: str) -> list[dict[str, Any]]:
    """One row per run: means over the second half of its samples, in the order of the frame."""
    late = frame.filter(pl.col("x") >= pl.col("x").max().over("run_id") / 2)
    return late.group_by("run_id", maintain_order=True).agg(pl.col(columns).mean()).to_dicts()


def gradient_norms(frame: pl.DataFrame, *, labels: Mapping[str, str] | None = None) -> str:
    """Auxiliary-loss gradient relative to the language-loss gradient, second half of training."""
    names = _names(labels, frame["run_id"].to_list())
    odd = _not_finite(frame, ("lm", "aux"), names)
    gradients = frame.filter(pl.col("lm").is_not_null())
    if gradients.is_empty():
        return " ".join(odd) or MISSING
    rows = _means(gradients, "lm", "aux")
    parts = [
        f"{number(100 * row['aux'] / row['lm'])} % of the language-loss gradient with {names[row['run_id']]}"
        for row in rows
        if row["aux"] is not None and row["lm"]
    ]
    without = [names[row["run_id"]] for row in rows if row["aux"] is None]
    sentences = []
    if parts:
        sentences.append(
            "In the second half of training, the auxiliary-loss gradient at the routers is "
            f"{and_list(parts)}."
        )
    if without:
        sentences.append(f"No auxiliary loss, so no second gradient: {and_list(without)}.")
    return " ".join([*sentences, *odd, *_lacking(frame, labels)])


def _not_finite(frame: pl.DataFrame, columns: tuple[str, ...], names: Mapping[str, str]) -> list[str]:
    """Number of NaN or infinite values per run, which the means leave out; empty if there are none."""
    counts = [pl.col(f"{c}_not_finite").sum() for c in columns if f"{c}_not_finite" in frame.columns]
    if not counts:
        return []
    rows = frame.group_by("run_id", maintain_order=True).agg(odd=pl.sum_horizontal(counts)).rows()
    parts = [f"{counted(int(odd), 'value')} with {names[run_id]}" for run_id, odd in rows if odd]
    return [f"Not finite and left out of the means: {and_list(parts)}."] if parts else []


def gradient_cosines(frame: pl.DataFrame, *, labels: Mapping[str, str] | None = None) -> str:
    """Mean cosine of the two gradients over all samples, and how often it is negative."""
    cosines = frame.filter(pl.col("cosine").is_not_null())
    if cosines.is_empty():
        return "No run here has two gradients to compare: none has an auxiliary loss with recorded gradients."
    names = _names(labels, cosines["run_id"].to_list())
    rows = cosines.group_by("run_id", maintain_order=True).agg(
        pl.col("cosine").mean(), against=(pl.col("cosine") < 0).sum(), samples=pl.len()
    )
    parts = [
        f"{signed(mean, 2)} on average with {names[run_id]}, below zero in {against} of "
        f"{counted(samples, 'sampled step')}"
        for run_id, mean, against, samples in rows.rows()
    ]
    return f"The cosine between the two gradients is {'; '.join(parts)}."


def choices(frame: pl.DataFrame, *, labels: Mapping[str, str] | None = None) -> str:
    """Router margins in the second half of training, smallest first."""
    margins = frame.filter(pl.col("margin").is_not_null())
    if margins.is_empty():
        return "No score margins were recorded for these runs."
    names = _names(labels, margins["run_id"].to_list())
    rows = sorted(_means(margins, "margin"), key=lambda row: row["margin"])
    parts = [f"{number(row['margin'])} with {names[row['run_id']]}" for row in rows]
    return (
        "In the second half of training, the last selected expert leads the first rejected one by "
        f"{and_list(parts)}."
    )


def switched(frame: pl.DataFrame, *, labels: Mapping[str, str] | None = None) -> str:
    """Share of assignments that the bias changes."""
    switches = frame.filter(pl.col("switched").is_not_null())
    if switches.is_empty():
        return "None of these runs has a bias, so no assignment was changed by one."
    names = _names(labels, switches["run_id"].to_list())
    parts: list[str] = []
    for row in _means(switches, "switched"):
        share = "%" if parts else "% of all assignments"
        parts.append(f"{number(100 * row['switched'])} {share} with {names[row['run_id']]}")
    return f"In the second half of training, the bias changes {and_list(parts)}."


def churn(frame: pl.DataFrame, *, labels: Mapping[str, str] | None = None) -> str:
    """Routing churn between the last two probes, lowest first."""
    if frame.is_empty():
        return f"None of these runs kept a probe batch, so routing churn is unknown. {HOW_TO_PROBE}"
    names = _names(labels, frame["run_id"].to_list())
    last = frame.sort("x").group_by("run_id", maintain_order=True).last().sort("churn")
    parts = [f"{number(100 * row['churn'])} % with {names[row['run_id']]}" for row in last.to_dicts()]
    first, end = int(last["first_step"].min()), int(last["last_step"].max())  # type: ignore[arg-type]
    text = (
        f"From step {first} to {end}, the share of experts that changed for the same tokens is "
        f"{and_list(parts)}"
    )
    chance = last["chance"].drop_nulls().unique().to_list()
    return text + (f"; random routing would give {number(100 * chance[0])} %." if len(chance) == 1 else ".")


def _lacking(frame: pl.DataFrame, labels: Mapping[str, str] | None) -> list[str]:
    """A sentence about arms of `labels` that have no gradients at all."""
    present = set(frame["run_id"])
    lacking = [label for run_id, label in (labels or {}).items() if run_id not in present]
    return [f"Not recorded: {and_list(lacking)}."] if lacking else []
