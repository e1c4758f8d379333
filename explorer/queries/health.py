"""How healthy the routing is: every figure of the loads, dead experts, the biases' oscillation.

The figures are those of `explorer/metrics`, by name. What reads a time axis takes the roll-ups or a fixed
number of short windows, so it costs the same for a long run.
"""

import math
from collections.abc import Sequence

import polars as pl

from explorer import metrics
from explorer.errors import one_of
from explorer.queries._frames import FIRST_LAYER, Cursor, choose_bins, first_row, frame, place
from explorer.store.expressions import FIGURES, PARTS, figures
from explorer.store.pyramids import LAYERS, LOADS, MEAN_LAYER

SERIES = (
    "max_vio",
    "effective_experts",
    "coefficient_of_variation",
    "total_variation",
    "idle_experts",
    "bias_spread",
)
"""Figures that are rolled up over time."""
MAX_SEQUENCES = 1024
"""Recorded sequences that the computation batches are made of, at most: those of the latest steps."""


def figure_series(
    cur: Cursor,
    run_ids: Sequence[str],
    figure: str = "max_vio",
    layer: int | None = None,
    max_bins: int = 300,
    x: str = "step",
) -> pl.DataFrame:
    """One figure of the loads (or the bias spread) over training, in at most `max_bins` bins a run.

    figure: one of SERIES. layer: one layer, or None for the mean over layers of every sample. x: step,
    tokens or time. Columns: run_id, bin, first_step, last_step, x, value (mean over the bin), value_min,
    value_max, samples. Bins without a value are left out. Sorted by run and bin.
    Raises ConfigError for an unknown figure or axis.
    """
    one_of("figure", figure, SERIES)
    sql = f"""
        SELECT $run_id AS run_id, bin, first_step, last_step, NULL::DOUBLE AS x,
               {figure}_sum / {figure}_count AS value, {figure}_min AS value_min, {figure}_max AS value_max,
               samples
        FROM ({LAYERS.binned("layer = $layer")}) WHERE {figure}_count > 0
        ORDER BY bin
    """
    shown = MEAN_LAYER if layer is None else layer
    return pl.concat(
        place(cur, frame(cur, sql, layer=shown, **choose_bins(cur, run_id, LAYERS, max_bins)), run_id, x)
        for run_id in run_ids or [""]
    )


def figures_at(cur: Cursor, run_id: str, step: int) -> pl.DataFrame:
    """Every figure of the loads, layer by layer, in the last recorded step at or before `step`.

    Columns: layer, step, tokens (assignments), then the names of `explorer.store.expressions.FIGURES`.
    """
    return frame(
        cur,
        f"""
        WITH parts AS (
            SELECT layer, step, {PARTS} FROM expert_loads
            WHERE run_id = $run_id AND step = (
                SELECT max(step) FROM layer_metrics
                WHERE run_id = $run_id AND layer = {FIRST_LAYER} AND step <= $step
            )
            GROUP BY layer, step
        )
        SELECT layer, step, total AS tokens, {figures()} FROM parts ORDER BY layer
        """,
        run_id=run_id,
        step=step,
    )


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
    """Every figure of the held-out loads, domains summed, layer by layer; `max_vio` is MaxVio_global.

    step: an evaluation's step; None takes the last one. Columns as for `figures_at`.
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
    """Experts without one token in the last `window` recorded steps (fewer if there are fewer).

    Columns: layer, idle (without a token in the very last step), dead, experts (the dead ones, a list),
    window (steps looked at), first_step, last_step. Sorted by layer.
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
    found = first_row(
        cur,
        "SELECT samples FROM progress WHERE run_id = $run_id AND table_name = 'expert_loads'",
        run_id=run_id,
    )
    return int(found[0]) if found else 0


def dead_series(cur: Cursor, run_id: str, layer: int, max_bins: int = 100) -> pl.DataFrame:
    """Dead experts of a layer over training; the window is the bin, and `samples` says how many steps it has.

    Columns: bin, first_step, last_step, dead, samples. Sorted by bin.
    """
    return frame(
        cur,
        f"""
        SELECT bin, min(first_step) AS first_step, max(last_step) AS last_step,
               count(*) FILTER (tokens_sum = 0) AS dead, max(samples) AS samples
        FROM ({LOADS.binned("layer = $layer")}) GROUP BY bin ORDER BY bin
        """,
        layer=layer,
        **choose_bins(cur, run_id, LOADS, max_bins),
    )


WINDOW_ROWS = """
    SELECT {number} AS number, ordinal, expert, step, expert_bias::DOUBLE AS bias FROM expert_loads
    WHERE run_id = $run_id AND layer = $layer AND ordinal >= {start} AND ordinal < {stop}
"""


def oscillation_series(
    cur: Cursor, run_id: str, layer: int, window: int = 64, points: int = 12
) -> pl.DataFrame:
    """How often the biases of a layer turn around, in at most `points` windows of `window` recorded steps.

    The windows are spread evenly over the run and the last one ends with it. Columns: first_step,
    last_step, oscillation (share of sign flips, NULL when no bias moved twice in a row), samples (steps in
    the window). Sorted by step. Definition: `metrics.oscillation`.
    """
    samples = _samples(cur, run_id)
    number = max(1, min(points, samples // window))
    last = max(0, samples - window)
    starts = [last * i // (number - 1) if number > 1 else last for i in range(number)]
    # One statement, and in it one short range after the other: each skips all other row groups.
    rows = " UNION ALL ".join(
        WINDOW_ROWS.format(number=i, start=start, stop=start + window) for i, start in enumerate(starts)
    )
    found = frame(cur, f"{rows} ORDER BY number, ordinal, expert", run_id=run_id, layer=layer)
    windows = []
    for part in found.partition_by("number", maintain_order=True):
        bias = part["bias"].to_numpy().reshape(part["ordinal"].n_unique(), -1)
        share = float(metrics.oscillation(bias))
        windows.append(
            (
                part["step"][0],
                part["step"][-1],
                None if math.isnan(share) else share,
                part["ordinal"].n_unique(),
            )
        )
    columns = {"first_step": pl.Int64, "last_step": pl.Int64, "oscillation": pl.Float64, "samples": pl.Int64}
    return pl.DataFrame(windows, schema=columns, orient="row")


def computation_batches(
    cur: Cursor,
    run_id: str,
    sizes: Sequence[int] | None = None,
    split: str = "train",
) -> pl.DataFrame:
    """MaxVio of groups of neighbouring sequences of one step, by group size (Loss-Free paper, Figure 5).

    sizes: sequences in a group; None takes the powers of two up to a whole step. It reads the last of the
    steps whose sequences are recorded (`metrics.last_recorded`: 20, or the last quarter), at most
    MAX_SEQUENCES sequences: the end of the training, on every page. Columns: sequences, tokens (of a
    group, not assignments), layer, max_vio (mean over groups), groups, uniform_mean (random routing of as
    many independent tokens). Sorted by size and layer. Definition: `metrics.max_vio_computation_batch`.
    """
    most, recorded = _sequences_per_step(cur, run_id, split)
    wanted = [2**power for power in range(most.bit_length())] if sizes is None else list(sizes)
    found = frame(
        cur,
        _group_statement(),
        run_id=run_id,
        split=split,
        steps=max(1, min(MAX_SEQUENCES // max(1, most), metrics.last_recorded(recorded))),
        sizes=wanted,
    )
    top_k = first_row(cur, "SELECT top_k FROM runs WHERE run_id = $run_id", run_id=run_id)
    uniform = [
        metrics.uniform_reference(experts, int(top_k[0]), round(tokens))[0] if top_k and tokens else None
        for experts, tokens in found.select("experts", "tokens").iter_rows()
    ]
    return found.drop("experts").with_columns(uniform_mean=pl.Series(uniform, dtype=pl.Float64))


def _sequences_per_step(cur: Cursor, run_id: str, split: str) -> tuple[int, int]:
    """The most sequences of a recorded step, and how many steps are recorded."""
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
    """Loads of groups of neighbouring sequences, measured and averaged by group size and layer."""
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


__all__ = [
    "FIGURES",
    "SERIES",
    "computation_batches",
    "counts_at",
    "dead_experts",
    "dead_series",
    "figure_series",
    "figures_at",
    "held_out_figures",
    "oscillation_series",
]
