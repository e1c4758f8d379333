"""Loads of the experts of one layer over the steps."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, choose_bins, frame
from explorer.store.pyramids import LOADS


@dataclass(frozen=True, kw_only=True)
class LoadMatrix:
    """Loads of one layer over the steps, for the canvas player. S columns, E experts."""

    steps: NDArray[np.int64]
    """[S] first step of each column."""
    last_steps: NDArray[np.int64]
    """[S] last step of each column; equal to `steps` at full resolution."""
    tokens: NDArray[np.int64]
    """[S, E] assignments, summed over the steps of a column."""
    bias: NDArray[np.float32] | None
    """[S, E] mean bias used, NaN where a step had none; None without a bias rule."""


def load_heatmap(cur: Cursor, run_id: str, layer: int, max_bins: int = 200) -> pl.DataFrame:
    """Loads of a layer in at most `max_bins` columns of equally many samples.

    Columns: bin, first_step, last_step, expert, load_ratio (mean tokens over the uniform share, from
    integer sums), min_ratio and max_ratio (over the samples of the bin), tokens (sum), is_dead (not one
    token in the whole bin). Sorted by bin and expert.
    """
    return frame(
        cur,
        f"""
        WITH b AS ({LOADS.binned("layer = $layer")})
        SELECT bin, first_step, last_step, expert,
               tokens_sum * count(*) OVER same_bin / nullif(sum(tokens_sum) OVER same_bin, 0) AS load_ratio,
               share_min * count(*) OVER same_bin AS min_ratio,
               share_max * count(*) OVER same_bin AS max_ratio,
               tokens_sum AS tokens, tokens_sum = 0 AS is_dead
        FROM b
        WINDOW same_bin AS (PARTITION BY bin)
        ORDER BY bin, expert
        """,
        layer=layer,
        **choose_bins(cur, run_id, LOADS, max_bins),
    )


FULL_MATRIX = """
    SELECT step AS first_step, step AS last_step, expert, tokens, expert_bias AS bias
    FROM expert_loads WHERE run_id = $run_id AND layer = $layer ORDER BY step, expert
"""
BINNED_MATRIX = f"""
    SELECT first_step, last_step, expert, tokens_sum AS tokens, (bias_sum / bias_count)::FLOAT AS bias
    FROM ({LOADS.binned("layer = $layer")}) ORDER BY first_step, expert
"""


def load_matrix(cur: Cursor, run_id: str, layer: int, max_columns: int = 4000) -> LoadMatrix:
    """The loads of a layer as a matrix: every recorded step, or bins when there are more than `max_columns`.

    Unknown run or layer: S = E = 0.
    """
    bins = choose_bins(cur, run_id, LOADS, max_columns, read=max_columns)
    sql = FULL_MATRIX if bins["width"] == 1 else BINNED_MATRIX
    if bins["width"] == 1:
        bins = {"run_id": run_id}
    rows = frame(cur, sql, layer=layer, **bins)
    experts = rows["expert"].n_unique()
    shape = (rows.height // max(1, experts), experts)
    bias = rows["bias"].fill_null(float("nan")).to_numpy().reshape(shape)
    return LoadMatrix(
        steps=rows["first_step"].to_numpy()[:: max(1, experts)],
        last_steps=rows["last_step"].to_numpy()[:: max(1, experts)],
        tokens=rows["tokens"].to_numpy().reshape(shape),
        bias=None if np.isnan(bias).all() else bias,
    )


def loads_at(cur: Cursor, run_id: str, layer: int, step: int) -> pl.DataFrame:
    """Loads of a layer in the last recorded step at or before `step`.

    Columns: expert, tokens, load_ratio (tokens over the uniform share), expert_bias, mean_score,
    mean_normalised_score (NULL where not recorded), step. Sorted by expert.
    """
    return frame(
        cur,
        """
        SELECT expert, tokens,
               tokens * count(*) OVER () / nullif(sum(tokens) OVER (), 0) AS load_ratio,
               expert_bias, mean_score, mean_normalised_score, step
        FROM expert_loads
        WHERE run_id = $run_id AND layer = $layer AND step = (
            SELECT max(step) FROM layer_metrics WHERE run_id = $run_id AND layer = $layer AND step <= $step
        )
        ORDER BY expert
        """,
        run_id=run_id,
        layer=layer,
        step=step,
    )
