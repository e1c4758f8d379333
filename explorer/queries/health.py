"""Routing health: the counts of a step, every metric of the held-out loads, dead experts.

The metrics are those of `explorer/metrics`, by name.
"""

from collections.abc import Sequence

import polars as pl

from explorer import metrics
from explorer.queries._frames import FIRST_LAYER, Cursor, first_row, frame
from explorer.store.expressions import PARTS, figures

MAX_SEQUENCES = 1024
"""Maximum number of recorded sequences for computation batches: those of the latest steps."""


def counts_at(cur: Cursor, run_id: str, step: int) -> pl.DataFrame:
    """The counts of all layers in the last recorded step at or before `step`.

    Columns: layer, expert, tokens, step. Sorted by layer and expert.
    """
    return frame(
        cur,
        f"""
        SELECT layer, expert, tokens, step FROM expert_loads
        WHERE run_id = $run_id AND step = (
            SELECT max(step) FROM layer_metrics
            WHERE run_id = $run_id AND layer = {FIRST_LAYER} AND step <= $step
        )
        ORDER BY layer, expert
        """,
        run_id=run_id,
        step=step,
    )


def held_out_figures(cur: Cursor, run_id: str, step: int | None = None) -> pl.DataFrame:
    """Every metric of the held-out loads, domains summed, per layer; `max_vio` is MaxVio_global.

    step: an evaluation's step; None takes the last one. Columns: layer, step, tokens
    (assignments), then the names of `explorer.store.expressions.FIGURES`.
    """
    return frame(
        cur,
        f"""
        WITH here AS (
            SELECT step, layer, expert, tokens FROM eval_loads WHERE run_id = $run_id AND split = 'held_out'
        ), loads AS (
            SELECT layer, step, expert, sum(tokens)::BIGINT AS tokens FROM here
            WHERE step = coalesce($step, (SELECT max(step) FROM here))
            GROUP BY layer, step, expert
        ), parts AS (SELECT layer, step, {PARTS} FROM loads GROUP BY layer, step)
        SELECT layer, step, total AS tokens, {figures()} FROM parts ORDER BY layer
        """,
        run_id=run_id,
        step=step,
    )


def dead_experts(cur: Cursor, run_id: str, window: int = metrics.DEAD_STEPS) -> pl.DataFrame:
    """Experts without any token in the last `window` recorded steps (fewer if there are fewer).

    Columns: layer, idle (without a token in the last step), dead, experts (the dead ones, a list),
    window (steps examined), first_step, last_step. Sorted by layer.
    """
    return frame(
        cur,
        """
        WITH experts AS (
            SELECT layer, expert, sum(tokens) AS tokens, arg_max(tokens, ordinal) AS latest,
                   count(*) AS steps, min(step) AS first_step, max(step) AS last_step
            FROM expert_loads WHERE run_id = $run_id AND ordinal >= $start
            GROUP BY layer, expert
        )
        SELECT layer, count(*) FILTER (latest = 0) AS idle, count(*) FILTER (tokens = 0) AS dead,
               coalesce(list(expert ORDER BY expert) FILTER (tokens = 0), []) AS experts,
               max(steps) AS window, min(first_step) AS first_step, max(last_step) AS last_step
        FROM experts GROUP BY layer ORDER BY layer
        """,
        run_id=run_id,
        start=_samples(cur, run_id) - window,
    )


def _samples(cur: Cursor, run_id: str) -> int:
    """Steps whose loads are recorded."""
    row = first_row(
        cur,
        "SELECT samples FROM progress WHERE run_id = $run_id AND table_name = 'expert_loads'",
        run_id=run_id,
    )
    return int(row[0]) if row else 0


def computation_batches(
    cur: Cursor,
    run_id: str,
    sizes: Sequence[int] | None = None,
    split: str = "train",
) -> pl.DataFrame:
    """MaxVio of groups of consecutive sequences of one step, by group size (Loss-Free paper, Figure 5).

    sizes: sequences in a group; None takes the powers of two up to a whole step. It reads the last of the
    steps whose sequences are recorded (`metrics.last_recorded`: 20, or the last quarter), at most
    MAX_SEQUENCES sequences: the end of the training, on every page. Columns: sequences, tokens (of a
    group, not assignments), layer, max_vio (mean over groups), groups, uniform_mean (random routing of as
    many independent tokens). Sorted by size and layer. Definition: `metrics.max_vio_computation_batch`.
    """
    most, recorded = _sequences_per_step(cur, run_id, split)
    group_sizes = [2**power for power in range(most.bit_length())] if sizes is None else list(sizes)
    rows = frame(
        cur,
        _group_statement(),
        run_id=run_id,
        split=split,
        steps=max(1, min(MAX_SEQUENCES // max(1, most), metrics.last_recorded(recorded))),
        sizes=group_sizes,
    )
    top_k = first_row(cur, "SELECT top_k FROM runs WHERE run_id = $run_id", run_id=run_id)
    uniform = [
        metrics.uniform_reference(experts, int(top_k[0]), round(tokens))[0] if top_k and tokens else None
        for experts, tokens in rows.select("experts", "tokens").iter_rows()
    ]
    return rows.drop("experts").with_columns(uniform_mean=pl.Series(uniform, dtype=pl.Float64))


def _sequences_per_step(cur: Cursor, run_id: str, split: str) -> tuple[int, int]:
    """The maximum number of sequences per recorded step, and the number of recorded steps."""
    per_step = first_row(
        cur,
        f"""
        SELECT max(number), count(*) FROM (
            SELECT count(*) AS number FROM sequence_loads
            WHERE run_id = $run_id AND split = $split AND layer = {FIRST_LAYER} AND expert = 0 GROUP BY step
        )
        """,
        run_id=run_id,
        split=split,
    )
    most, recorded = (int(n or 0) for n in per_step) if per_step else (0, 0)
    return most, recorded


def _group_statement() -> str:
    """SQL for MaxVio of groups of consecutive sequences, averaged by group size and layer."""
    return f"""
        WITH steps_kept AS (
            SELECT DISTINCT step FROM sequence_loads
            WHERE run_id = $run_id AND split = $split AND layer = {FIRST_LAYER} AND expert = 0
            ORDER BY step DESC LIMIT $steps
        ), numbered AS (
            SELECT step, layer, expert, tokens,
                   dense_rank() OVER (PARTITION BY step ORDER BY micro_batch, sequence) - 1 AS place
            FROM sequence_loads JOIN steps_kept USING (step) WHERE run_id = $run_id AND split = $split
        ), grouped AS (
            SELECT sequences, step, place // sequences AS nth, layer, expert, sum(tokens)::BIGINT AS tokens
            FROM numbered, (SELECT unnest($sizes::INTEGER[]) AS sequences)
            GROUP BY ALL HAVING count(*) = sequences
        ), parts AS (
            SELECT sequences, step, nth, layer, {PARTS} FROM grouped GROUP BY sequences, step, nth, layer
        ), measured AS (SELECT *, {figures("max_vio")} FROM parts), sizes AS (
            SELECT top_k FROM runs WHERE run_id = $run_id
        )
        SELECT sequences, avg(total) / nullif((SELECT top_k FROM sizes), 0) AS tokens, layer,
               avg(max_vio) AS max_vio, count(*) AS groups, max(experts) AS experts
        FROM measured GROUP BY sequences, layer ORDER BY sequences, layer
        """
