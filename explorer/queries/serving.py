"""Loads of all MoE layers at once, in batches of consecutive steps or of held-out sequences."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, ViewBins, choose_bins, frame, ranks
from explorer.store.pyramids import LOADS

MOST_CELLS = 300_000
"""Cells (batch, layer, expert) that a view reads, at most: about 20 ms."""
SEQUENCES_PER_BATCH = 6
"""Held-out sequences that are counted together, as a server would batch them."""


@dataclass(frozen=True, kw_only=True)
class LoadBatches:
    """Loads of R batches in L MoE layers; E experts."""

    first_steps: NDArray[np.int64]
    """[R]"""
    last_steps: NDArray[np.int64]
    """[R]"""
    tokens: NDArray[np.int64]
    """[R, L, E] assignments."""

    def __len__(self) -> int:
        return len(self.tokens)


STORED = """
    SELECT bin, layer, expert, first_step, last_step, tokens_sum AS tokens
    FROM load_bins WHERE run_id = $run_id AND level = $level
"""
BY_STEP = """
    SELECT ordinal AS bin, layer, expert, step AS first_step, step AS last_step, tokens
    FROM expert_loads WHERE run_id = $run_id
"""
BY_BATCH = """
    SELECT (ordinal // $width)::INTEGER AS bin, layer, expert, min(step) AS first_step,
           max(step) AS last_step, sum(tokens)::BIGINT AS tokens
    FROM expert_loads WHERE run_id = $run_id AND ordinal >= $rolled GROUP BY ALL
"""
"""Samples that no stored bin covers."""


def load_batches(cur: Cursor, run_id: str, cells_per_step: int) -> LoadBatches:
    """Loads of every layer in batches of equally many recorded steps, single steps where they are few enough.

    cells_per_step: L × E, which bounds the number of batches. Unknown run: R = L = E = 0.
    """
    most = max(8, MOST_CELLS // max(1, cells_per_step))
    rows = _batch_rows(cur, choose_bins(cur, run_id, LOADS, most, read=most))
    spans = rows.group_by("bin").agg(pl.col("first_step").min(), pl.col("last_step").max()).sort("bin")
    return LoadBatches(
        first_steps=spans["first_step"].to_numpy(),
        last_steps=spans["last_step"].to_numpy(),
        tokens=_dense(rows, ("bin", "layer", "expert")),
    )


def _batch_rows(cur: Cursor, bins: ViewBins) -> pl.DataFrame:
    """Rows with bin, layer, expert, first_step, last_step and tokens; those of a bin are to be added."""
    if bins.width == 1:
        return frame(cur, BY_STEP, run_id=bins.run_id)
    parts = []
    if bins.level:
        stored = frame(cur, STORED, run_id=bins.run_id, level=bins.level)
        parts.append(stored.with_columns(pl.col("bin") // bins.factor))
    if bins.has_fresh:
        rolled = bins.rolled if bins.level else 0
        parts.append(frame(cur, BY_BATCH, run_id=bins.run_id, width=bins.width, rolled=rolled))
    return pl.concat(parts)


HELD_OUT_BY_BATCH = """
    SELECT domain, step, (sequence // $batch)::BIGINT AS bin, layer, expert, sum(tokens)::BIGINT AS tokens
    FROM sequence_loads
    WHERE run_id = $run_id AND split = 'held_out' AND step = (
        SELECT max(step) FROM sequence_loads WHERE run_id = $run_id AND split = 'held_out'
    )
    GROUP BY ALL
"""
HELD_OUT_AT_ONCE = """
    SELECT domain, step, 0::BIGINT AS bin, layer, expert, tokens
    FROM eval_loads
    WHERE run_id = $run_id AND split = 'held_out' AND step = (
        SELECT max(step) FROM eval_loads WHERE run_id = $run_id AND split = 'held_out'
    )
"""


def held_out_batches(cur: Cursor, run_id: str) -> dict[str, LoadBatches]:
    """Domain -> loads of the last evaluation, in batches of SEQUENCES_PER_BATCH sequences.

    One batch per domain where the loads of single sequences are not recorded; empty without an evaluation.
    """
    rows = frame(cur, HELD_OUT_BY_BATCH, run_id=run_id, batch=SEQUENCES_PER_BATCH)
    if rows.is_empty():
        rows = frame(cur, HELD_OUT_AT_ONCE, run_id=run_id)
    batches = {}
    for (domain,), part in sorted(rows.partition_by("domain", as_dict=True).items()):
        tokens = _dense(part, ("bin", "layer", "expert"))
        step = np.full(len(tokens), int(part["step"][0]))
        batches[str(domain)] = LoadBatches(first_steps=step, last_steps=step, tokens=tokens)
    return batches


def _dense(rows: pl.DataFrame, keys: tuple[str, str, str]) -> NDArray[np.int64]:
    """The column `tokens`, summed, as an array over the three keys; layer numbers become positions."""
    if rows.is_empty():
        return np.zeros((0, 0, 0), dtype=np.int64)
    batch, layer, expert = (rows[key].to_numpy().astype(np.int64, copy=False) for key in keys)
    layers, place = ranks(layer)
    shape = (int(batch.max()) + 1, len(layers), int(expert.max()) + 1)
    tokens = np.zeros(shape, dtype=np.int64)
    cell = (batch * shape[1] + place) * shape[2] + expert
    np.add.at(tokens.reshape(-1), cell, rows["tokens"].to_numpy())
    return tokens
