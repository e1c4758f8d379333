"""Batch-aware selection on the recorded scores of a probe: distinct experts, latency, divergence, balance.

Open loop: every policy chooses on scores that the model recorded under full routing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from explorer.charts import serving_batch as charts
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.probe import not_recorded
from explorer.figures.probe_batch import RoutedBatch, probe_text, route
from explorer.figures.serving.settings import Batches
from explorer.figures.store import Store, Trace
from explorer.queries._frames import Cursor
from explorer.queries.probe import layer_probe
from explorer.routing import batch_selection as policies
from explorer.routing import routing_math
from explorer.routing.batch_selection import Floats, Mask, Ranks
from explorer.wording import and_list, counted, percent

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Tokens per batch."""
STATIC_KS = (1, 2, 3, 4, 6, 8)
OPEN_LOOP = "Open loop: a policy's choice does not affect later layers."
NO_CHOICE = "Tokens do not choose their experts by score in this run, so there is nothing to reselect."


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity of a batch, and the words of its panel."""

    column: str
    """Of `outcomes`."""
    subject: str
    y_title: str
    how: str


MEASURES = {
    "distinct": Measure(
        column="distinct",
        subject="Distinct experts per batch",
        y_title="distinct experts",
        how=f"Every expert with a token must be loaded from memory once per batch. {OPEN_LOOP}",
    ),
    "latency": Measure(
        column="latency",
        subject="Modelled latency per batch",
        y_title="latency (expert loads)",
        how="Modelled time a·B·k + b·(distinct experts), in units of b, one expert's load. " + OPEN_LOOP,
    ),
    "divergence": Measure(
        column="divergence",
        subject="Divergence of the mixture weights",
        y_title="divergence (nats)",
        how="Jensen-Shannon divergence of each token's mixture weights from full routing, mean over tokens: "
        f"0 means equal weights, ln 2 = 0.69 no expert in common. {OPEN_LOOP}",
    ),
    "balance": Measure(
        column="max_vio",
        subject="Balance of the experts in use",
        y_title="MaxVio of a batch",
        how="MaxVio among the experts that a batch uses: busiest load over their mean, minus 1. Fewer kept "
        f"experts carry more tokens each. {OPEN_LOOP}",
    ),
}


@dataclass(frozen=True, kw_only=True)
class MeasuredBatches:
    """Settings of a panel."""

    batches: Batches
    measure: Measure


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A probe batch as the policies read it, T tokens in the order of batching."""

    ranks_TE: Ranks
    logits_TE: Floats
    weights_TE: Floats
    """Scores that weigh the experts."""
    top_k: int

    def cut(self, size: int) -> tuple[Ranks, Floats, Floats]:
        """The same in batches of `size` tokens, [N, size, E]; a rest that fills no batch is left out."""
        number = len(self.ranks_TE) // size
        shape, last = (number, size, -1), number * size
        return (
            self.ranks_TE[:last].reshape(shape),
            self.logits_TE[:last].reshape(shape),
            self.weights_TE[:last].reshape(shape),
        )


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One line of the charts."""

    name: str
    kind: str
    nth: int
    select: Callable[[Ranks, Floats], Mask]


def scored(batch: RoutedBatch, is_mixed: bool) -> Scored | None:
    """The scores of a probe batch; None where tokens do not choose by them."""
    if (
        batch.logits is None
        or batch.compared is None
        or batch.settings.weighs_by is None
        or batch.settings.top_p is not None
    ):
        return None
    order = np.arange(batch.num_tokens)
    if is_mixed:
        order = np.random.default_rng(0).permutation(order)
    return Scored(
        ranks_TE=policies.preference_ranks(batch.compared)[order],
        logits_TE=batch.logits.astype(np.float64)[order],
        weights_TE=routing_math.scores(batch.logits, batch.settings.weighs_by).astype(np.float64)[order],
        top_k=batch.settings.top_k,
    )


def policies_of(top_k: int, num_experts: int, settings: Batches) -> list[Policy]:
    """Full routing, every static k, OEA and Lynx, in the order of the legend."""
    fixed = [k for k in STATIC_KS if k != top_k and k <= min(num_experts, max(top_k, 4))]
    lines = [Policy(name=f"full routing, k = {top_k}", kind=charts.FULL, nth=0, select=_static(top_k))]
    lines += [
        Policy(name=f"static k = {k}", kind=charts.STATIC, nth=nth, select=_static(k))
        for nth, k in enumerate(fixed)
    ]
    k0 = min(settings.k0, top_k)
    lines.append(
        Policy(
            name=f"OEA, k0 = {k0}",
            kind=charts.OEA,
            nth=0,
            select=lambda ranks, _: policies.oea(ranks, top_k, k0),
        )
    )
    lines.append(
        Policy(
            name=f"Lynx, keep {percent(settings.knobs.keep)}",
            kind=charts.LYNX,
            nth=0,
            select=lambda ranks, logits: policies.lynx(ranks, logits, top_k, settings.knobs),
        )
    )
    return lines


def _static(k: int) -> Callable[[Ranks, Floats], Mask]:
    return lambda ranks, _: policies.static_top_k(ranks, k)


def outcomes(tokens: Scored, settings: Batches) -> pl.DataFrame:
    """policy, kind, nth, batch, num_batches, and the mean of every measure over batches."""
    rows = []
    for size in SIZES:
        if size > len(tokens.ranks_TE):
            break
        ranks, logits, weights = tokens.cut(size)
        full = policies.mixture(weights, policies.static_top_k(ranks, tokens.top_k))
        for policy in policies_of(tokens.top_k, ranks.shape[-1], settings):
            mask = policy.select(ranks, logits)
            rows.append(
                {
                    "policy": policy.name,
                    "kind": policy.kind,
                    "nth": policy.nth,
                    "batch": size,
                    "num_batches": len(ranks),
                    "distinct": float(policies.distinct_experts(mask).mean()),
                    "latency": float(settings.latency.of(mask).mean()),
                    "divergence": float(policies.divergence(full, policies.mixture(weights, mask)).mean()),
                    "max_vio": float(policies.kept_max_vio(mask).mean()),
                }
            )
    return pl.DataFrame(rows).sort("kind", "nth", "batch", maintain_order=True)


@dataclass(frozen=True, kw_only=True)
class _Result:
    frame: pl.DataFrame
    num_experts: int
    top_k: int


def _result(cur: Cursor, run_id: str, config: str, top_k: int, settings: Batches) -> _Result | str:
    """The outcomes, or the reason why there are none; asked like a query, so that a store can cache it."""
    probe = layer_probe(cur, run_id, settings.probe, settings.layer)
    if probe is None:
        return not_recorded(settings.probe, settings.layer)
    router = routing_math.settings_of(json.loads(config), top_k=top_k, step=settings.probe)
    text = probe_text(None, len(probe.logits))
    tokens = scored(route(probe, router, text, step=settings.probe, layer=settings.layer), settings.is_mixed)
    if tokens is None:
        return NO_CHOICE
    return _Result(frame=outcomes(tokens, settings), num_experts=probe.num_experts, top_k=tokens.top_k)


def by_batch_size(store: Store, arms: ArmSet, settings: MeasuredBatches) -> Panel | Missing:
    """One measure over the size of a batch, with a line per policy."""
    trace = Trace(store)
    (arm,) = arms
    run, batches, measure = arm.first, settings.batches, settings.measure
    result = trace.ask(_result, run, run.config, run.top_k, batches)
    subject = f"{measure.subject}, layer {batches.layer}"
    if isinstance(result, str):
        return Missing(subject=subject, reason=result)
    reference = None
    if measure.column == "distinct":
        expected = [policies.expected_distinct(result.num_experts, result.top_k, size) for size in SIZES]
        reference = pl.DataFrame({"batch": list(SIZES), "value": expected})
        reference = reference.filter(pl.col("batch").is_in(result.frame["batch"].unique().implode()))
    frame = result.frame.rename({measure.column: "value"})
    chart = charts.by_batch_size(
        frame.select("policy", "kind", "nth", "batch", "value"),
        sorted(set(frame["batch"])),
        y_title=measure.y_title,
        reference=reference,
    )
    return Panel(
        subject=subject,
        finding=_finding(batches.layer, result.frame, measure.column),
        how=measure.how,
        spec=specs.make(chart),
        table=result.frame,
        statements=trace.statements,
    )


def _finding(layer: int, frame: pl.DataFrame, column: str) -> str:
    """The value of every policy at 16 tokens, or at the largest batch."""
    size = min(16, int(frame["batch"].to_numpy().max()))
    at = frame.filter(pl.col("batch") == size)
    parts = [f"{row[column]:.3g} with {_in_brackets(row['policy'])}" for row in at.to_dicts()]
    return f"Layer {layer}, {counted(size, 'token')} per batch: {and_list(parts)}."


def _in_brackets(policy: str) -> str:
    """`OEA (k0 = 1)` for `OEA, k0 = 1`: commas separate the policies of a sentence."""
    name, comma, setting = policy.partition(", ")
    return f"{name} ({setting})" if comma else name
