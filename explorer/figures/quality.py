"""Quality of arms after training: perplexity against balance, and paired differences between arms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from explorer.charts import captions, differences, plane, ranking
from explorer.charts import spec as specs
from explorer.figures import pairs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.panel import Panel
from explorer.figures.rule_names import short_rule
from explorer.figures.store import Store, Trace
from explorer.queries import comparison

PAIRED = {
    "perplexity": "perplexity",
    "lm_loss": "held-out loss (nats per token)",
    "max_vio_global": "MaxVio held-out",
    "max_vio_batch": "MaxVio last steps",
    "worst_max_vio": "MaxVio of the worst layer",
}
"""Metric of `queries.comparison` -> its name in a chart of paired differences."""
UNTUNED = (
    "α and u were not tuned for each rule, so a difference may come from these settings and not from the "
    "rules."
)
HOLM = (
    "Holm's correction counts all pairs of the selected arms, metric by metric, so the verdict does not "
    "depend on the base."
)


@dataclass(frozen=True, kw_only=True)
class PlaneSettings:
    """How perplexity against MaxVio is drawn."""

    height: int = 480
    """In pixels."""
    with_shipped: bool = False
    """Whether shipped runs stand beside the runs that a reader has chosen."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Which differences are shown."""

    base: str
    """Token of the arm that the others are compared with."""
    metrics: tuple[str, ...]
    """Names in PAIRED."""


def _short_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame under the short names that a sentence has room for, unless two rules would share one."""
    pairs = frame.select("balancer", "balancer_label").unique().rows()
    names = {label: short_rule(text or "", label) for text, label in pairs if label}
    if len(set(names.values())) < len(names):
        return frame
    return frame.with_columns(pl.col("balancer_label").replace(names))


def dilemma_plane(store: Store, arms: ArmSet, settings: PlaneSettings | None) -> Panel:
    """Held-out perplexity against held-out MaxVio, one point per run of these arms."""
    settings = settings or PlaneSettings()
    trace = Trace(store)
    frame = trace.ask(comparison.summary, arms.runs)
    added = " Shipped runs of the same experiment are added to your selection." * settings.with_shipped
    return Panel(
        subject="Perplexity against MaxVio of the held-out set",
        finding=ranking.dilemma_plane(_short_labels(frame)),
        how="Lower left is better on both metrics. Small points are runs, large ones are means over seeds "
        f"with their 95 % intervals; lines join the strengths of one rule.{added} A MaxVio of exactly 0, as "
        f"with expert choice, is drawn at the left edge.{not_drawn(frame)} {UNTUNED}",
        spec=specs.make(plane.dilemma_plane(frame, height=settings.height)),
        table=frame,
        statements=trace.statements,
    )


def not_drawn(summary: pl.DataFrame) -> str:
    """Which runs have no place in the plane, since perplexity or MaxVio is NaN or infinite; "" for none."""
    odd = pl.any_horizontal(~pl.col("perplexity", "max_vio_global").cast(pl.Float64).is_finite())
    names = summary.filter(odd.fill_null(False))["run_id"].to_list()
    return f" Not drawn, since a metric is not finite: {', '.join(names)}." if names else ""


def paired(store: Store, arms: ArmSet, settings: Paired) -> Panel:
    """Differences of the other arms from the base, seed by seed, with Holm's verdict among all pairs."""
    trace = Trace(store)
    rows = paired_rows(trace, arms, settings)
    return differences_panel(trace, arms, settings.base, rows, how=f"{HOLM} {UNTUNED}")


def paired_rows(trace: Trace, arms: ArmSet, settings: Paired) -> list[dict[str, Any]]:
    """The rows of `paired`, metric by metric."""
    base = arms.of_token(settings.base)
    return [row for metric in settings.metrics for row in verdict_rows(trace, arms, base, metric)]


def verdict_rows(trace: Trace, arms: ArmSet, base: Arm, metric: str) -> list[dict[str, Any]]:
    """The rows of all arms but the base in one metric, with Holm's verdict among all pairs of these arms."""
    verdicts = pairs.verdicts(arms, pairs.p_value_in(trace.ask, metric))
    rows = [(arm, row_of(trace, arms, arm, base, metric)) for arm in arms if arm is not base]
    return [
        {**row, "survives": verdicts.survives(arm.token, base.token), "comparisons": verdicts.comparisons}
        for arm, row in rows
        if row is not None
    ]


def row_of(trace: Trace, arms: ArmSet, arm: Arm, base: Arm, metric: str) -> dict[str, Any] | None:
    """One row as `charts.paired_differences` takes it; None for arms without a common seed."""
    pair = pairs.paired(trace.ask, arm, base, metric)
    if pair.mean is None:
        return None
    return {
        "metric": PAIRED[metric],
        "arm": arms.label(arm),
        "name": arms.names[arm.token],
        "mean": pair.mean,
        "half_width": pair.half_width,
        "resolved": pair.resolved,
        "p_value": pair.p_value,
        "values": list(pair.differences.values()),
        "seeds": pair.n,
        "family": arm.family,
        "scope": arm.first.scope,
    }


def differences_panel(
    trace: Trace, arms: ArmSet, base: str, rows: Sequence[dict[str, Any]], *, how: str
) -> Panel:
    """Rows of `row_of` with `survives` and `comparisons` as a panel; how: what else there is to know."""
    name = arms.labels[base]
    table = pl.DataFrame([{k: v for k, v in row.items() if k not in ("name", "values")} for row in rows])
    return Panel(
        subject=f"Differences from {name}",
        finding=captions.paired_differences(rows),
        how=f"Each tick is one seed: its value minus that of “{arms.names[base]}” from "
        f"{pair_origin(arms.arms)}. The bar is the 95 % t interval; a difference whose interval contains 0 "
        f"is not significant. {how}",
        spec=specs.make(differences.paired_differences(rows)),
        table=table if rows else None,
        statements=trace.statements,
    )


def pair_origin(arms: Sequence[Arm]) -> str:
    """What the two runs of a pair have in common. Runs on texts that are known to differ are no pairs."""
    has_digests = all(run.corpus_digest for arm in arms for run in arm.runs)
    return "the same weights and data" if has_digests else "the same seed and configuration"


def resolution_note(store: Store, arms: ArmSet, settings: Paired) -> str:
    """How small a significant difference can be in `paired`, one sentence per metric; "" without rows."""
    return " ".join(resolutions(paired_rows(Trace(store), arms, settings)))


def resolutions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How small a difference can be and still be significant, one sentence per metric."""
    sentences = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        widths = [row["half_width"] for row in rows if row["metric"] == metric]
        widths = [width for width in widths if width is not None]
        if widths:
            reach = " to ".join(dict.fromkeys(f"{width:.2g}" for width in (min(widths), max(widths))))
            sentences.append(
                f"Resolution in {metric}: ±{reach}. No smaller difference is significant, and after Holm's "
                "correction some larger ones are not either."
            )
        else:
            sentences.append(
                f"{metric[0].upper()}{metric[1:]}: one seed, so there is no interval and nothing is tested."
            )
    return sentences
