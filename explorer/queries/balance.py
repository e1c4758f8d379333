"""How even the loads are: MaxVio over time and per layer, and what chance alone would show."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from explorer import metrics
from explorer.queries._frames import FIRST_LAYER, Cursor, choose_bins, first_row, frame, place
from explorer.store.pyramids import LAYERS, MEAN_LAYER

MAX_SEQUENCES = 1024
"""Recorded sequences that the resampled reference draws from, at most: the latest ones."""


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
    paper draws it), samples. Sorted by run and bin.
    Raises ConfigError for an unknown `x`.
    """
    sql = f"""
        SELECT $run_id AS run_id, bin, first_step, last_step, NULL::DOUBLE AS x,
               max_vio_sum / nullif(max_vio_count, 0) AS max_vio, max_vio_min, max_vio_max,
               max_vio_mean100_last AS max_vio_mean100, samples
        FROM ({LAYERS.binned("layer = $layer")})
        ORDER BY bin
    """
    shown = MEAN_LAYER if layer is None else layer
    return pl.concat(
        place(cur, frame(cur, sql, layer=shown, **choose_bins(cur, run_id, LAYERS, max_bins)), run_id, x)
        for run_id in run_ids or [""]
    )


def layer_balance(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """How even the loads of every layer are at the end of training.

    Columns: run_id, layer, max_vio_batch (mean of the last 100 steps, or of the last quarter of fewer
    than 400), max_vio_global (last held-out counts, domains summed), effective_experts and idle_experts
    (means over the same steps), collapsed (effective experts <= E/2 for 100 steps in a row, ever).
    Sorted by run and layer. Definitions: `explorer/metrics`.
    """
    return frame(
        cur,
        """
        SELECT run_id, layer, max_vio_batch, max_vio_global, effective_experts, idle_experts, collapsed
        FROM layer_summary WHERE list_contains($run_ids::VARCHAR[], run_id)
        ORDER BY list_position($run_ids::VARCHAR[], run_id), layer
        """,
        run_ids=list(run_ids),
    )


def references(cur: Cursor, run_id: str) -> dict[str, float | None]:
    """What MaxVio (mean over layers) chance alone would show in a step of this run.

    uniform_mean, uniform_p95: every token picks K experts at random. resampled_mean, resampled_p95:
    whole sequences of the last quarter of the training, drawn again within their domains, if every
    expert's expected load were equal. None where the sizes or the sequences are not recorded, and where
    tokens take different numbers of experts, so that "K at random" says nothing, or layers have different
    numbers of experts.
    Definitions: `metrics.uniform_reference`, `metrics.resampled_reference`.
    """
    result: dict[str, float | None] = dict.fromkeys(
        ("uniform_mean", "uniform_p95", "resampled_mean", "resampled_p95")
    )
    sizes = first_row(
        cur,
        """
        SELECT num_experts, top_k, tokens_per_step, num_moe_layers,
               config ->> '$.model.top_p' IS NULL
               AND coalesce(config ->> '$.model.random_second', 'false') = 'false'
               AND coalesce(config ->> '$.model.routing', '') <> 'expert_threshold'
               AND experts_per_layer IS NULL
        FROM runs WHERE run_id = $run_id
        """,
        run_id=run_id,
    )
    if sizes is None or not all(sizes):
        return result
    experts, top_k, tokens, layers = map(int, sizes[:4])
    result["uniform_mean"], result["uniform_p95"] = metrics.uniform_reference(experts, top_k, tokens, layers)
    counts, domains = _final_sequences(cur, run_id)
    if len(counts):
        sequence_tokens = counts[:, 0, :].sum(-1).mean() / top_k
        sequences = max(1, round(tokens / sequence_tokens)) if sequence_tokens else 1
        mean, p95 = metrics.resampled_reference(counts, sequences, strata=domains)
        result["resampled_mean"], result["resampled_p95"] = mean, p95
    return result


def _final_sequences(cur: Cursor, run_id: str) -> tuple[np.ndarray, list[str]]:
    """Loads [R, L, E] of the latest training sequences in the last quarter, and their domains."""
    rows = frame(
        cur,
        f"""
        WITH steps_kept AS (
            SELECT DISTINCT step, micro_batch, sequence FROM sequence_loads
            WHERE run_id = $run_id AND split = 'train' AND layer = {FIRST_LAYER} AND expert = 0
              AND step >= 0.75 * (
                  SELECT max(step) + 1 FROM sequence_loads WHERE run_id = $run_id AND split = 'train'
              )
            ORDER BY step DESC, micro_batch DESC, sequence DESC LIMIT $most
        )
        SELECT step, micro_batch, sequence, layer, expert, domain, tokens
        FROM sequence_loads JOIN steps_kept USING (step, micro_batch, sequence)
        WHERE run_id = $run_id AND split = 'train'
        ORDER BY step, micro_batch, sequence, layer, expert
        """,
        run_id=run_id,
        most=MAX_SEQUENCES,
    )
    if rows.is_empty():
        return np.empty((0, 0, 0), dtype=np.int64), []
    layers, experts = rows["layer"].n_unique(), rows["expert"].n_unique()
    counts = rows["tokens"].to_numpy().reshape(-1, layers, experts)
    return counts, rows["domain"].to_list()[:: layers * experts]
