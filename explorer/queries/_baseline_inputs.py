"""What the random-routing baselines of a run depend on: its tokens at the end, and its last sequences.

Of a run that is not training these are kept beside the index until its folder changes, since reading the
sequences takes longer than all other queries of a page.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from explorer import metrics
from explorer.queries import _baselines, statements
from explorer.queries._frames import FIRST_LAYER, Cursor, first_row, frame
from explorer.store.snapshot import remembered

MAX_SEQUENCES = 1024
"""Maximum number of recorded sequences for the resampled baseline: the latest ones."""

HELD_OUT = """
    WITH here AS (
        SELECT step, layer, tokens FROM eval_loads WHERE run_id = $run_id AND split = 'held_out'
    )
    SELECT sum(tokens) FROM here
    WHERE step = (SELECT max(step) FROM here) AND layer = (SELECT min(layer) FROM here)
"""
FINAL_TOKENS = """
    SELECT tokens, count(*) AS steps FROM layer_metrics, (
        SELECT samples FROM progress WHERE run_id = $run_id AND table_name = 'expert_loads'
    )
    WHERE run_id = $run_id AND ordinal >= samples - greatest(1, least($most, samples // 4))
      AND layer = (SELECT min(layer) FROM layer_summary WHERE run_id = $run_id)
    GROUP BY tokens ORDER BY tokens
"""
SEQUENCES = f"""
    SELECT step, micro_batch, sequence, domain FROM sequence_loads
    WHERE run_id = $run_id AND split = 'train' AND layer = {FIRST_LAYER} AND expert = 0
"""
SEQUENCE_LOADS = """
    SELECT step, micro_batch, sequence, layer, expert, tokens FROM sequence_loads
    WHERE run_id = $run_id AND split = 'train' AND step >= $first
"""


def held_out_tokens(cur: Cursor, run_id: str, top_k: int) -> int:
    """Tokens behind `max_vio_global`: those of the last held-out counts, domains summed, in one layer."""

    def read() -> list[float]:
        row = first_row(cur, HELD_OUT, run_id=run_id)
        return [float(row[0] or 0) if row else 0.0]

    statements.note(HELD_OUT, {"run_id": run_id})
    return round(int(_kept(cur, run_id, "held out", read)[0]) / top_k)


def final_tokens(cur: Cursor, run_id: str, top_k: int) -> dict[int, int]:
    """Tokens counted in a step -> number of final steps (`metrics.last_steps`) with that count."""
    params = {"run_id": run_id, "most": metrics.LAST_STEPS}

    def read() -> list[float]:
        return [float(number) for row in frame(cur, FINAL_TOKENS, **params).iter_rows() for number in row]

    statements.note(FINAL_TOKENS, params)
    numbers = _kept(cur, run_id, f"final tokens {metrics.LAST_STEPS}", read)
    steps_by_tokens: dict[int, int] = {}
    for assignments, steps in zip(numbers[::2], numbers[1::2], strict=True):
        tokens = round(assignments / top_k)
        if tokens > 0:
            steps_by_tokens[tokens] = steps_by_tokens.get(tokens, 0) + int(steps)
    return steps_by_tokens


def resampled(cur: Cursor, run_id: str, top_k: int, tokens: float) -> tuple[float, float] | None:
    """Mean and 95th percentile of `metrics.resampled_reference` for batches of `tokens` tokens.

    It resamples the latest training sequences in the last quarter. None where none are recorded.
    """

    def read() -> list[float]:
        counts, domains, first = _final_sequences(cur, run_id)
        if not len(counts):
            return []
        sequence_tokens = counts[:, 0, :].sum(-1).mean() / top_k
        sequences = max(1, round(tokens / sequence_tokens)) if sequence_tokens else 1
        return [*_baselines.resampled(counts, sequences, domains), float(first)]

    statements.note(SEQUENCES, {"run_id": run_id})
    numbers = _kept(cur, run_id, f"resampled {MAX_SEQUENCES} {top_k} {tokens}", read)
    if not numbers:
        return None
    mean, p95, first = numbers
    statements.note(SEQUENCE_LOADS, {"run_id": run_id, "first": int(first)})
    return mean, p95


def _final_sequences(cur: Cursor, run_id: str) -> tuple[np.ndarray, list[str], int]:
    """Loads [R, L, E] of these sequences, their domains, and the first of their steps."""
    sequences = frame(cur, SEQUENCES, run_id=run_id).sort("step", "micro_batch", "sequence")
    if sequences.is_empty():
        return np.empty((0, 0, 0), dtype=np.int64), [], 0
    tail = sequences.filter(pl.col("step") >= 0.75 * (pl.col("step").max() + 1)).tail(MAX_SEQUENCES)
    first = int(tail["step"][0])
    rows = frame(cur, SEQUENCE_LOADS, run_id=run_id, first=first)
    row = pl.int_range(pl.len()).alias("row")
    rows = rows.join(
        tail.select("step", "micro_batch", "sequence", row), on=["step", "micro_batch", "sequence"]
    )
    layers, layer = np.unique(rows["layer"].to_numpy(), return_inverse=True)
    experts, expert = np.unique(rows["expert"].to_numpy(), return_inverse=True)
    counts = np.zeros((tail.height, len(layers), len(experts)), dtype=np.int64)
    counts[rows["row"].to_numpy(), layer, expert] = rows["tokens"].to_numpy()
    return counts, tail["domain"].to_list(), first


def _kept(cur: Cursor, run_id: str, name: str, read: Callable[[], list[float]]) -> Sequence[float]:
    """The numbers that `read` takes from the rows of a run, from the file beside the index where it has them.

    The caller notes the statements: they stand for the numbers wherever those come from.
    """
    with statements.listening():
        folder = remembered(cur, ("folder", run_id), lambda: _folder(cur, run_id))
        return _baselines.memoised(f"{_program()} {name} {folder}", read) if folder else read()


def _folder(cur: Cursor, run_id: str) -> str:
    """A digest of the folder of a run as it was read; "" where rows may still come."""
    sql = "SELECT fingerprint FROM raw.runs WHERE run_id = $run_id AND state <> 'running' AND problem IS NULL"
    row = cur.execute(sql, {"run_id": run_id}).fetchone()
    return str(row[0] or "") if row else ""


@cache
def _program() -> str:
    """A digest of this module: numbers that another version has read are not taken for its own."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
