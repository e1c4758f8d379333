"""Agreement of two routings of the same tokens: by layer, over the probes, swaps and loads of one layer."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from explorer.charts import agreement as charts
from explorer.charts import spec as specs
from explorer.figures import agreement_text as text
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store, Trace
from explorer.figures.two_routings import TwoRoutings, compare, over_probes
from explorer.routing.agreement import Agreement

LAYERS_HOW = (
    "Bars: share of the assignments that both routings make. Ticks: the share that the loads alone predict."
)
RELABELLED_HOW = " Diamonds: after the best one-to-one relabelling of the experts."
TOKENS_HOW = "A token counts if any of its experts differs. The axis ends near the largest value."
PROBES_HOW = "Bold: the selected layer, dashed: what its loads alone predict. Faint: the other layers."
BIAS_PROBES_HOW = "Bold: the selected layer. Faint: the other layers. The axis ends near the largest value."
SWAPS_HOW = (
    "Rows: the expert that a token leaves in the second routing; columns: the one it gains. A token that "
    "changes two experts counts in four cells."
)
LOADS_HOW = "The dashed line at 1 marks the uniform load."


def by_layer(store: Store, arms: ArmSet, settings: TwoRoutings) -> Panel | Missing:
    """Shared assignments per layer, beside what the loads alone predict."""
    trace = Trace(store)
    subject = "Assignments that two routings share"
    pair = compare(trace, arms, settings, with_shift=True)
    if isinstance(pair, str):
        return Missing(subject=subject, reason=pair)
    table, is_other = layer_rows(pair.layers), not settings.is_one_training
    return Panel(
        subject=subject,
        finding=text.overlap(pair, relabelled=is_other),
        how=LAYERS_HOW + (RELABELLED_HOW if is_other else ""),
        spec=specs.make(charts.by_layer(table, relabelled=is_other)),
        table=table,
        statements=trace.statements,
    )


def differing_tokens(store: Store, arms: ArmSet, settings: TwoRoutings) -> Panel | Missing:
    """Share of the tokens with any difference per layer."""
    trace = Trace(store)
    subject = "Tokens that two routings send to different experts"
    pair = compare(trace, arms, settings)
    if isinstance(pair, str):
        return Missing(subject=subject, reason=pair)
    table = layer_rows(pair.layers)
    return Panel(
        subject=subject,
        finding=text.differing(pair.layers),
        how=TOKENS_HOW,
        spec=specs.make(charts.differing_tokens(table)),
        table=table,
        statements=trace.statements,
    )


def at_probes(store: Store, arms: ArmSet, settings: TwoRoutings) -> Panel | Missing:
    """Shared assignments over the probes."""
    trace = Trace(store)
    subject = "Agreement of two routings over the probes"
    by_probe = [(step, layers) for step, layers in over_probes(trace, arms, settings) if step > 0]
    frames = [layer_rows(layers).with_columns(step=pl.lit(step)) for step, layers in by_probe]
    if len(frames) < 2:
        return Missing(
            subject=subject, reason="Agreement over training needs two probes that both runs have."
        )
    table = pl.concat(frames)
    # Rounding a bias changes a few tokens in a thousand, which no share of shared assignments shows.
    is_bias = settings.is_one_training and settings.second.bias != "recorded"
    return Panel(
        subject=subject,
        finding=text.differing_at_probes(by_probe, settings.layer)
        if is_bias
        else text.probes(by_probe, settings.layer, fixed=_fixed_step(settings)),
        how=BIAS_PROBES_HOW if is_bias else PROBES_HOW,
        spec=specs.make(charts.over_probes(table, layer=settings.layer, tokens=is_bias)),
        table=table,
        statements=trace.statements,
    )


def swaps(store: Store, arms: ArmSet, settings: TwoRoutings) -> Panel | Missing:
    """Which experts swap in one layer, as a matrix of tokens."""
    trace = Trace(store)
    subject = f"Swapped experts, layer {settings.layer}"
    pair = compare(trace, arms, settings, layer=settings.layer)
    if isinstance(pair, str):
        return Missing(subject=subject, reason=pair)
    agreement = pair.layers[settings.layer]
    if not agreement.swaps_EE.any():
        return Missing(subject=subject, reason=f"No token swaps experts in layer {settings.layer}.")
    experts = busiest_swaps(agreement)
    table = swap_rows(agreement, experts)
    some = (
        ""
        if len(experts) == agreement.num_experts
        else f" The {len(experts)} experts with most swaps are shown."
    )
    return Panel(
        subject=subject,
        finding=text.swaps(agreement),
        how=SWAPS_HOW + some,
        spec=specs.make(charts.swaps(table, experts=experts)),
        table=table,
        statements=trace.statements,
    )


def loads(store: Store, arms: ArmSet, settings: TwoRoutings) -> Panel | Missing:
    """Loads of both routings in one layer."""
    trace = Trace(store)
    subject = f"Probe loads of two routings, layer {settings.layer}"
    pair = compare(trace, arms, settings, layer=settings.layer)
    if isinstance(pair, str):
        return Missing(subject=subject, reason=pair)
    agreement, names = pair.layers[settings.layer], pair.labels
    names = names if names[0] != names[1] else (f"{names[0]} (first)", f"{names[1]} (second)")
    table = load_rows(agreement, names)
    return Panel(
        subject=subject,
        finding=text.loads(agreement),
        how=LOADS_HOW,
        spec=specs.make(charts.both_loads(table, names=names)),
        table=table,
        statements=trace.statements,
    )


def _fixed_step(settings: TwoRoutings) -> int | None:
    """The probe that all others are compared with, where both sides are probes of one run."""
    is_fixed = settings.is_one_training and settings.second.bias == "recorded"
    return settings.first.step if is_fixed else None


def layer_rows(layers: Mapping[int, Agreement]) -> pl.DataFrame:
    """One row per layer: layer, tokens, slots, shared, differing, overlap, by_loads, matched,
    differing_share.
    """
    return pl.DataFrame(
        [
            {
                "layer": layer,
                "tokens": one.tokens,
                "slots": one.slots,
                "shared": one.shared,
                "differing": one.differing,
                "overlap": one.overlap,
                "by_loads": one.overlap_by_loads,
                "matched": one.matched_overlap,
                "differing_share": one.differing_share,
            }
            for layer, one in layers.items()
        ]
    )


def busiest_swaps(agreement: Agreement) -> list[int]:
    """The experts of the matrix, by index: all, or those with most swaps where there are too many."""
    totals = agreement.swaps_EE.sum(0) + agreement.swaps_EE.sum(1)
    most = charts.MOST_SWAP_EXPERTS
    if agreement.num_experts <= most:
        return list(range(agreement.num_experts))
    return sorted(np.argsort(-totals, kind="stable")[:most].tolist())


def swap_rows(agreement: Agreement, experts: list[int]) -> pl.DataFrame:
    """expert, other, tokens: one row per ordered pair of these experts."""
    part = agreement.swaps_EE[np.ix_(experts, experts)]
    return pl.DataFrame(
        {
            "expert": np.repeat(experts, len(experts)).astype(np.int32),
            "other": np.tile(experts, len(experts)).astype(np.int32),
            "tokens": part.ravel(),
        }
    )


def load_rows(agreement: Agreement, names: tuple[str, str]) -> pl.DataFrame:
    """expert, routing, tokens, load_ratio: one row per expert and routing."""
    frames = []
    for name, loads_E in zip(names, (agreement.loads_E, agreement.other_loads_E), strict=True):
        mean = max(int(loads_E.sum()), 1) / agreement.num_experts
        frames.append(
            pl.DataFrame(
                {
                    "expert": np.arange(agreement.num_experts, dtype=np.int32),
                    "routing": [name] * agreement.num_experts,
                    "tokens": loads_E,
                    "load_ratio": loads_E / mean,
                }
            )
        )
    return pl.concat(frames)
