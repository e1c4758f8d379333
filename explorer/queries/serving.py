"""Loads of all MoE layers at once, in batches of consecutive steps or of held-out sequences."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, choose_bins, frame
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


LOADS_BY_STEP = """
    SELECT ordinal::BIGINT AS bin, layer, expert, step AS first_step, step AS last_step, tokens
    FROM expert_loads WHERE run_id = $run_id
"""
LOADS_BY_BATCH = "SELECT bin, layer, expert, first_step, last_step, tokens_sum AS tokens FROM ({pieces})"


def load_batches(cur: Cursor, run_id: str, cells_per_step: int) -> LoadBatches:
    """Loads of every layer in batches of equally many recorded steps, single steps where they are few enough.

    cells_per_step: L × E, which bounds the number of batches. Unknown run: R = L = E = 0.
    """
    most = max(8, MOST_CELLS // max(1, cells_per_step))
    bins = choose_bins(cur, run_id, LOADS.only("tokens_sum"), most, read=most)
    if bins.width == 1:
        rows = frame(cur, LOADS_BY_STEP, run_id=run_id)
    else:
        rows = frame(cur, LOADS_BY_BATCH.format(pieces=bins.pieces()), **bins.params)
    tokens = _dense(rows, ("bin", "layer", "expert"))
    first = np.full(len(tokens), np.iinfo(np.int64).max)
    last = np.full(len(tokens), -1)
    batch = rows["bin"].to_numpy()
    np.minimum.at(first, batch, rows["first_step"].to_numpy())
    np.maximum.at(last, batch, rows["last_step"].to_numpy())
    return LoadBatches(first_steps=first, last_steps=last, tokens=tokens)


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
    batch, layer, expert = (rows[key].to_numpy().astype(np.int64) for key in keys)
    layers, place = np.unique(layer, return_inverse=True)
    shape = (int(batch.max(initial=-1)) + 1, len(layers), int(expert.max(initial=-1)) + 1)
    tokens = np.zeros(shape, dtype=np.int64)
    np.add.at(tokens, (batch, place, expert), rows["tokens"].to_numpy())
    return tokens
