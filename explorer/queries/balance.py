"""Imbalance: MaxVio over time and per layer, and its random-routing baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from explorer.queries import _baseline_inputs, _baselines
from explorer.queries._frames import Cursor, choose_bins, frame, place, run_row
from explorer.store.pyramids import MEAN_LAYER, layer_pyramid


def max_vio_series(
    cur: Cursor,
    run_ids: Sequence[str],
    layer: int | None = None,
    max_bins: int = 300,
    x: str = "step",
) -> pl.DataFrame:
    """MaxVio over the training of some runs, in at most `max_bins` bins each.

    layer: one layer, or None for the mean over layers of every sample. x: step, tokens or time (seconds).
    Columns: run_id, bin, first_step, last_step, x (at the end of the bin), max_vio (mean over the bin),
    max_vio_min, max_vio_max, max_vio_mean100 (mean over the 100 samples up to the end of the bin, as the
    paper draws it), tokens (assignments of a layer in a step, mean over the bin), samples. Sorted by run
    and bin. A placement, whose numbers are replicas, has no rows.
    Raises ConfigError for an unknown `x`.
    """
    layer_or_mean = MEAN_LAYER if layer is None else layer
    pyramid = layer_pyramid(layer_or_mean).only("max_vio", "tokens")
    series = []
    for run_id in run_ids or [""]:
        bins = choose_bins(cur, run_id, pyramid, max_bins)
        sql = f"""
            SELECT $run_id AS run_id, bin, first_step, last_step, NULL::DOUBLE AS x,
                   max_vio_sum / nullif(max_vio_count, 0) AS max_vio, max_vio_min, max_vio_max,
                   max_vio_mean100_last AS max_vio_mean100, tokens_sum / samples AS tokens, samples
            FROM ({bins.merged("layer = $layer")})
            WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_id = $run_id AND unit = 'replicas')
            ORDER BY bin
        """
        series.append(place(cur, frame(cur, sql, layer=layer_or_mean, **bins.params), run_id, x))
    return pl.concat(series)


def layer_balance(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """Imbalance of every layer at the end of training.

    Columns: run_id, layer, max_vio_batch (mean of the last 100 steps, or of the last quarter of fewer
    than 400), max_vio_global (last held-out counts, domains summed), effective_experts and idle_experts
    (means over the same steps), collapsed (effective experts <= E/2 for 100 steps in a row, ever).
    Sorted by run and layer. Definitions: `explorer/metrics`.
    """
    return frame(
        cur,
        """
        SELECT run_id, layer, max_vio_batch, max_vio_global, effective_experts, idle_experts, collapsed
        FROM layer_summary JOIN runs USING (run_id)
        WHERE list_contains($run_ids::VARCHAR[], run_id) AND unit IS DISTINCT FROM 'replicas'
        ORDER BY list_position($run_ids::VARCHAR[], run_id), layer
        """,
        run_ids=list(run_ids),
    )


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """Sizes on which a step's random baseline depends, besides its tokens."""

    num_experts: int
    top_k: int
    num_moe_layers: int


def _sizes(cur: Cursor, run_id: str) -> _Sizes | None:
    """None if they are not recorded, or if tokens or layers have different numbers of experts."""
    row = run_row(
        cur,
        """
        SELECT num_experts, top_k, num_moe_layers,
               config ->> '$.model.top_p' IS NULL
               AND coalesce(config ->> '$.model.random_second', 'false') = 'false'
               AND coalesce(config ->> '$.model.routing', '') <> 'expert_threshold'
               AND experts_per_layer IS NULL
        FROM runs WHERE run_id = $run_id
        """,
        run_id=run_id,
    )
    if row is None or not all(row):
        return None
    return _Sizes(num_experts=int(row[0]), top_k=int(row[1]), num_moe_layers=int(row[2]))


def references(cur: Cursor, run_id: str, *, resampled: bool = True) -> dict[str, float | None]:
    """Random-routing baselines of a run: MaxVio (mean over layers) by chance alone at its end.

    uniform_mean, uniform_p95: every token picks K experts at random; the mean over the steps that
    `max_vio_batch` averages, each with the tokens that were counted in it. resampled_mean, resampled_p95:
    whole sequences of the last quarter of the training, resampled within their domains, if every
    expert's expected load were equal. held_out_mean, held_out_p95: as uniform, for the tokens of the last
    held-out counts. tokens and held_out_tokens: those tokens, per step and in all. None where the sizes or
    the sequences are not recorded, and where tokens take different numbers of experts, so that "K at
    random" is undefined. Definitions: `metrics.uniform_reference`, `metrics.resampled_reference`.
    resampled: False leaves those of whole sequences None, which cost most.
    """
    result: dict[str, float | None] = dict.fromkeys(
        (*(f"{kind}_{end}" for kind in ("uniform", "resampled", "held_out") for end in ("mean", "p95")),
         "tokens", "held_out_tokens")
    )  # fmt: skip
    sizes = _sizes(cur, run_id)
    if sizes is None:
        return result
    held_out = _baseline_inputs.held_out_tokens(cur, run_id, sizes.top_k)
    if held_out:
        result["held_out_tokens"] = held_out
        band = _baselines.uniform(sizes.num_experts, sizes.top_k, [held_out], sizes.num_moe_layers)
        result["held_out_mean"], result["held_out_p95"] = band[held_out]
    steps = _baseline_inputs.final_tokens(cur, run_id, sizes.top_k)
    if not steps:
        return result
    bands = _baselines.uniform(sizes.num_experts, sizes.top_k, list(steps), sizes.num_moe_layers)
    result["uniform_mean"], result["uniform_p95"] = (
        sum(number * bands[tokens][end] for tokens, number in steps.items()) / sum(steps.values())
        for end in (0, 1)
    )
    tokens = sum(n * number for n, number in steps.items()) / sum(steps.values())
    result["tokens"] = tokens
    if not resampled:
        return result
    band_of_sequences = _baseline_inputs.resampled(cur, run_id, sizes.top_k, tokens)
    if band_of_sequences is not None:
        result["resampled_mean"], result["resampled_p95"] = band_of_sequences
    return result


def uniform_series(cur: Cursor, run_id: str, max_bins: int = 300, x: str = "step") -> pl.DataFrame:
    """The baseline of independent tokens along a run: it falls while a batch grows.

    Columns: bin, first_step, last_step, x, tokens (routed per step, mean over the bin), uniform_mean,
    uniform_p95. Sorted by bin; empty where `references` has no baseline.
    """
    sizes = _sizes(cur, run_id)
    counted = place(cur, _tokens_series(cur, run_id, max_bins), run_id, x).filter(pl.col("tokens") > 0)
    tokens = [] if sizes is None else [round(n / sizes.top_k) for n in counted["tokens"]]
    bands = (
        {}
        if sizes is None
        else _baselines.uniform(sizes.num_experts, sizes.top_k, tokens, sizes.num_moe_layers)
    )
    ends = [bands[n] for n in tokens if n > 0]
    bins = counted.head(len(ends)).select("bin", "first_step", "last_step", "x")
    return bins.with_columns(
        tokens=pl.Series(tokens[: len(ends)], dtype=pl.Int64),
        uniform_mean=pl.Series([mean for mean, _ in ends], dtype=pl.Float64),
        uniform_p95=pl.Series([p95 for _, p95 in ends], dtype=pl.Float64),
    )


def _tokens_series(cur: Cursor, run_id: str, max_bins: int) -> pl.DataFrame:
    """The columns bin, first_step, last_step, x (empty) and tokens of `max_vio_series`."""
    bins = choose_bins(cur, run_id, layer_pyramid(MEAN_LAYER).only("tokens"), max_bins)
    sql = f"""
        SELECT bin, first_step, last_step, NULL::DOUBLE AS x, tokens_sum / samples AS tokens
        FROM ({bins.merged("layer = $layer")})
        WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_id = $run_id AND unit = 'replicas')
        ORDER BY bin
    """
    return frame(cur, sql, layer=MEAN_LAYER, **bins.params)
