"""Specialisation: load by domain, co-activation of experts, router saturation.

Domains come from the held-out loads (`eval_loads`), choices from the probe batch (`probe_scores`: the same
tokens at a few checkpoints). Expert numbers belong to one layer of one run and are never pooled.
"""

import math
from dataclasses import replace
from itertools import groupby

import numpy as np
import polars as pl

from explorer import metrics
from explorer.queries._choices import Changes, Choices, Ids, choices, shared, sizes_of
from explorer.queries._frames import FIRST_LAYER, Cursor, first_row, frame

MAX_EVALS = 60
"""Maximum number of evaluations in a series: evenly spaced, always including the last."""


def specialisation(cur: Cursor, run_id: str, layer: int | None = None) -> pl.DataFrame:
    """Dependence between domains and experts, per evaluation and layer.

    Columns: step, layer, mean_distance (`metrics.mean_domain_distance`), information (bits,
    `metrics.mutual_information`), chance (bits expected from counting noise alone if tokens were
    independent), most_information (bits, the smaller of log2 D and log2 N). Sorted by step and layer.
    """
    rows = frame(
        cur,
        f"""
        SELECT step, layer, domain, expert, tokens FROM eval_loads
        WHERE run_id = $run_id AND split = 'held_out' AND list_contains($steps::BIGINT[], step)
        {"" if layer is None else "AND layer = $layer"}
        """,
        run_id=run_id,
        steps=_eval_steps(cur, run_id),
        **({} if layer is None else {"layer": layer}),
    )
    parts = [
        {"step": step, "layer": of_layer, **domain_information(part)}
        for (step, of_layer), part in rows.sort("step", "layer").group_by(
            "step", "layer", maintain_order=True
        )
    ]
    schema = {"step": pl.Int64, "layer": pl.Int32, **dict.fromkeys(INFORMATION, pl.Float64)}
    return pl.DataFrame(parts, schema=schema)


INFORMATION = ("mean_distance", "information", "chance", "most_information")
"""Columns of `specialisation` beside step and layer."""


def domain_information(loads: pl.DataFrame) -> dict[str, float | None]:
    """The four numbers of one evaluation of a layer, by name; None where undefined.

    loads: domain, expert, tokens.
    """
    domains, domain = np.unique(loads["domain"].to_numpy(), return_inverse=True)
    experts, expert = np.unique(loads["expert"].to_numpy(), return_inverse=True)
    counts = np.zeros((len(domains), len(experts)), dtype=np.int64)
    np.add.at(counts, (domain, expert), loads["tokens"].to_numpy())
    values = (
        float(metrics.mean_domain_distance(counts)),
        float(metrics.mutual_information(counts)),
        _chance(len(domains), len(experts), int(counts.sum())),
        math.log2(min(counts.shape)),
    )
    return {
        name: None if value is None or math.isnan(value) else value
        for name, value in zip(INFORMATION, values, strict=True)
    }


def _chance(domains: int, experts: int, tokens: int) -> float | None:
    return metrics.mutual_information_chance(domains, experts, tokens) if tokens else None


def _eval_steps(cur: Cursor, run_id: str) -> list[int]:
    """Steps of at most MAX_EVALS held-out evaluations with loads, always including the last."""
    sql = f"""
        SELECT DISTINCT step FROM eval_loads
        WHERE run_id = $run_id AND split = 'held_out' AND layer = {FIRST_LAYER} AND expert = 0 ORDER BY step
    """
    steps = frame(cur, sql, run_id=run_id)["step"].to_list()
    number = min(len(steps), MAX_EVALS)
    if number < 2:
        return steps[-1:]
    return [steps[i * (len(steps) - 1) // (number - 1)] for i in range(number)]


def coactivation(cur: Cursor, run_id: str, layer: int, step: int | None = None) -> pl.DataFrame:
    """How often two experts of a layer are chosen for the same probe token (`metrics.coactivation`).

    step: a probe's step; None takes the last one. Columns: expert, other, tokens (both chosen; on the
    diagonal the expert's own tokens), share (of the tokens of `expert`; NULL if it has none). All pairs.
    """
    return cross_activation(cur, run_id, layer, layer, step)


def cross_activation(
    cur: Cursor, run_id: str, layer: int, other_layer: int, step: int | None = None
) -> pl.DataFrame:
    """How often an expert of `layer` and one of `other_layer` are chosen for the same probe token.

    All K x K pairs of a token count (`metrics.cross_activation`). Columns as for `coactivation`.
    """
    if step is None:
        row = first_row(cur, "SELECT max(step) FROM probe_scores WHERE run_id = $run_id", run_id=run_id)
        step = row[0] if row and row[0] is not None else -1
    sizes = sizes_of(cur, run_id)
    layers = {
        one.layer: one for one in choices(cur, run_id, sizes.num_experts, step, sorted({layer, other_layer}))
    }
    first, second = layers.get(layer), layers.get(other_layer)
    shape = (sizes.width(layer), sizes.width(other_layer)) if first is not None else (0, 0)
    counts, own = np.zeros(shape, dtype=np.int64), np.zeros(shape[0], dtype=np.int64)
    if first is not None:
        held = first.ids[(first.ids >= 0) & (first.ids < shape[0])]
        own = np.bincount(held, minlength=shape[0])
    if first is not None and second is not None:
        _, left, right = np.intersect1d(first.tokens, second.tokens, return_indices=True)
        counts = metrics.cross_activation(first.ids[left], second.ids[right], *shape)
    expert, other = (grid.ravel().astype(np.int32) for grid in np.indices(counts.shape))
    with np.errstate(invalid="ignore"):
        share = counts / own[:, None]
    return pl.DataFrame(
        {"expert": expert, "other": other, "tokens": counts.ravel(), "share": share.ravel()},
        schema={"expert": pl.Int32, "other": pl.Int32, "tokens": pl.Int64, "share": pl.Float64},
    ).with_columns(pl.col("share").fill_nan(None))


def saturation(cur: Cursor, run_id: str) -> pl.DataFrame:
    """Router saturation relative to the final probe, and churn since the previous probe.

    Columns: step, layer, saturation (`metrics.saturation`, 1 at the last probe), churn (`metrics.churn`
    since the previous probe; NULL at the first), chance (K/N, the saturation of independent choices; N of
    that layer).
    Sorted by step and layer.
    """
    sizes = sizes_of(cur, run_id)
    if not sizes.num_experts:
        return pl.DataFrame(schema=SATURATION)
    rows = []
    every = list(choices(cur, run_id, sizes.num_experts))
    final_step = max((one.step for one in every), default=None)
    for layer, probes in groupby(every, lambda one: one.layer):
        of_layer = list(probes)
        final = of_layer[-1]
        if final.step != final_step:
            continue  # nothing to compare with
        width = sizes.width(layer)
        chance = sizes.top_k / width if sizes.top_k is not None and width else None
        changes = Changes.between([_of_tokens(one, final.tokens) for one in of_layer])
        for one, change in zip(of_layer, changes, strict=True):
            _, at, now = np.intersect1d(final.tokens, one.tokens, return_indices=True)
            same, slots = shared(one.ids[now], final.ids[at]).sum(), final.sizes[at].sum()
            rows.append((one.step, layer, same / slots if slots else None, change.churn, chance))
    return pl.DataFrame(rows, schema=SATURATION, orient="row").sort("step", "layer")


SATURATION = {
    "step": pl.Int64,
    "layer": pl.Int32,
    "saturation": pl.Float64,
    "churn": pl.Float64,
    "chance": pl.Float64,
}


def _of_tokens(probe: Choices, tokens: Ids) -> Choices:
    """The part of a probe that has these tokens."""
    is_kept = np.isin(probe.tokens, tokens)
    if is_kept.all():
        return probe
    return replace(
        probe, tokens=probe.tokens[is_kept], ids=probe.ids[is_kept], is_known=probe.is_known[is_kept]
    )
