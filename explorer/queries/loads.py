"""Loads of the experts of one layer over the steps."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, choose_bins, frame


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
    bins = choose_bins(cur, run_id, "expert_loads", max_bins)
    return frame(
        cur,
        """
        WITH ratios AS (
            SELECT e.ordinal // $width AS bin, e.step, e.expert, e.tokens,
                   e.tokens * count(*) OVER same_step / sum(e.tokens) OVER same_step AS ratio
            FROM expert_loads e WHERE e.run_id = $run_id AND e.layer = $layer
            WINDOW same_step AS (PARTITION BY e.ordinal)
        ), b AS (
            SELECT bin, expert, min(step) AS first_step, max(step) AS last_step,
                   sum(tokens)::BIGINT AS tokens, min(ratio) AS min_ratio, max(ratio) AS max_ratio
            FROM ratios GROUP BY bin, expert
        )
        SELECT bin::BIGINT AS bin, first_step, last_step, expert,
               tokens * count(*) OVER same_bin / nullif(sum(tokens) OVER same_bin, 0) AS load_ratio,
               min_ratio, max_ratio, tokens, tokens = 0 AS is_dead
        FROM b
        WINDOW same_bin AS (PARTITION BY bin)
        ORDER BY bin, expert
        """,
        run_id=run_id,
        layer=layer,
        width=bins.width,
    )


def load_matrix(cur: Cursor, run_id: str, layer: int, max_columns: int = 4000) -> LoadMatrix:
    """The loads of a layer as a matrix: every recorded step, or bins when there are more than `max_columns`.

    Unknown run or layer: S = E = 0.
    """
    bins = choose_bins(cur, run_id, "expert_loads", max_columns)
    rows = frame(
        cur,
        """
        SELECT min(step) AS first_step, max(step) AS last_step, expert, sum(tokens)::BIGINT AS tokens,
               avg(expert_bias)::FLOAT AS bias
        FROM expert_loads WHERE run_id = $run_id AND layer = $layer
        GROUP BY ordinal // $width, expert
        ORDER BY first_step, expert
        """,
        run_id=run_id,
        layer=layer,
        width=bins.width,
    )
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
