"""Specialisation: expert load by domain, side by side for several methods, and distances between domains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from explorer.charts import domains
from explorer.charts import spec as specs
from explorer.charts.captions import number
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.pairs import Ask
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store, Trace
from explorer.figures.templates import with_rows
from explorer.metrics import is_resolved, t_interval
from explorer.queries import specialisation as queries
from explorer.queries.domains import domain_expert_of_runs
from explorer.wording import and_list, domain_name

NO_LOADS = "Held-out loads by domain were not recorded in this layer."


PANEL_PX = 162
"""Height of a panel: several stand beside each other."""


@dataclass(frozen=True, kw_only=True)
class ByMethod:
    """One MoE layer of several arms, a panel each."""

    layer: int
    runs: tuple[Run, ...]
    """The runs of all panels, whose loads one statement reads."""

    @classmethod
    def of(cls, arms: ArmSet, layer: int) -> "ByMethod":
        """The first run of every arm that has this layer."""
        return cls(layer=layer, runs=arms.with_layer(layer).first_runs)


def with_domain_loads(store: Store, arms: ArmSet, layer: int) -> ArmSet:
    """The arms whose first run has held-out loads by domain in this layer."""
    read = Trace(store).ask(domain_expert_of_runs, ByMethod.of(arms, layer).runs, layer)
    return arms.only([arm for arm in arms.with_layer(layer) if arm.first.run_id in read])


def load_by_domain(store: Store, arms: ArmSet, settings: ByMethod) -> Panel | Missing:
    """Held-out load of every expert and domain, in the first run of the only arm (DeepSeek-V3, Figure 9).

    The colours are those of every load; a page explains them once for several panels.
    """
    (arm,) = arms
    run, layer, label = arm.first, settings.layer, arms.label(arm)
    trace = Trace(store)
    frame = trace.ask(domain_expert_of_runs, settings.runs, layer).get(run.run_id)
    subject = f"Load over balanced load by domain with {label}, layer {layer}"
    if frame is None:
        return Missing(subject=subject, reason=NO_LOADS)
    row = queries.domain_information(frame)
    title, experts = arms.title(arm), tuple(frame["expert"].unique().sort())
    spec = with_rows(
        ("load by domain", title, experts),
        (domains.heatmap_rows(frame),),
        lambda: domains.domain_expert_heatmap(frame, title=title, height=PANEL_PX),
    )
    return Panel(
        subject=subject,
        finding=strongest_specialist(frame, row),
        how=f"Held-out text at the last evaluation of this run, layer {layer}; the sentence above the panels "
        "covers all layers and seeds.",
        spec=spec,
        on_page=specs.without_legend(spec),
        table=frame,
        statements=trace.statements,
    )


def strongest_specialist(frame: pl.DataFrame, row: Mapping[str, float | None] | None) -> str:
    """The expert with the highest load in a domain, and the information of experts about domains.

    frame: of `queries.domain_expert`; row: of `queries.specialisation` for the same layer, if any.
    """
    live = frame.filter(pl.col("tokens") > 0) if not frame.is_empty() else frame
    if live.is_empty():
        return "No loads by domain were recorded."
    top = live.sort("load_ratio", "domain", "expert", descending=[True, False, False]).row(0, named=True)
    times = number(top["load_ratio"])
    share = f"{times}× the uniform load in {domain_name(top['domain'])}"
    text = f"Strongest specialist: expert {top['expert']}, {share}."
    if row is None or row["information"] is None or row["chance"] is None:
        return text
    bits, noise = number(float(row["information"])), number(float(row["chance"]))
    return f"{text} Experts carry {bits} bits of information about the domain; counting noise gives {noise}."


def distances(store: Store, arms: ArmSet) -> str:
    """One sentence on the mean distance between two domains in every arm, over all layers and seeds."""
    trace = Trace(store)
    return distance_sentence(
        [
            (
                arms.names[arm.token],
                {run.seed: final_value(trace.ask, run, "mean_distance") for run in arm.runs},
            )
            for arm in arms
        ]
    )


def final_value(ask: Ask, run: Run, column: str) -> float:
    """A column of `queries.specialisation` at the last evaluation, mean over layers; NaN where unknown."""
    frame: pl.DataFrame = ask(queries.specialisation, run)
    last = frame.filter(pl.col("step") == pl.col("step").max())[column].drop_nulls()
    return float(last.mean()) if len(last) else math.nan  # type: ignore[arg-type]


def distance_sentence(rows: Sequence[tuple[str, Mapping[int | None, float]]]) -> str:
    """The mean distance between domains of every method, and whether the first two differ over their seeds.

    rows: label, and the mean distance of every seed (mean over layers). Without two seeds in common the
    methods are listed and not ranked.
    """
    finite_rows = [
        (label, {seed: d for seed, d in of_seeds.items() if math.isfinite(d)}) for label, of_seeds in rows
    ]
    finite_rows = [(label, of_seeds) for label, of_seeds in finite_rows if of_seeds]
    if not finite_rows:
        return "The distance between domains is unknown: it needs two domains with tokens."
    common = set.intersection(*(set(of_seeds) for _, of_seeds in finite_rows))
    means = {label: _mean([of_seeds[seed] for seed in common or of_seeds]) for label, of_seeds in finite_rows}
    ordered = sorted(finite_rows, key=lambda entry: -means[entry[0]])
    values = [f"{number(means[label])} with {label}" for label, _ in ordered]
    seeds = f"{len(common)} seeds" if len(common) > 1 else "one seed" if common else "different seeds"
    text = (
        f"The mean distance between two domains, over all layers and {seeds}, is {and_list(values)} "
        "(0: the same experts, 1: no expert in common)."
    )
    if len(finite_rows) == 1:
        return text
    interval = t_interval([ordered[0][1][s] - ordered[1][1][s] for s in common])
    if interval is None:
        return f"{text} Too few common seeds to rank the methods."
    verdict = "significant" if is_resolved(interval) else "not significant"
    return f"{text} The first two differ by {number(abs(interval[0]))} ± {number(interval[1])}, {verdict}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
