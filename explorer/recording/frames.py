"""Records -> one Polars frame a table, with the columns of `explorer/tables.py`.

Everything is done on whole arrays: a flush costs a few numpy calls a table, whatever the number
of rows. Shapes: S records, L layers, E experts, B sequences, P tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.recording.schema import SCHEMAS
from explorer.records import (
    EvalLoadRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    RankLoadRecord,
    SequenceLoadRecord,
)

Columns = dict[str, Any]


def to_frame(table: str, run_id: str, records: Sequence[Any]) -> pl.DataFrame:
    """The rows of `records`, which all belong to `table`, in their order. At least one record."""
    columns = _BUILDERS.get(table, _scalars)(records)
    schema = SCHEMAS[table]
    count = len(columns["step"])
    series = []
    for name, dtype in schema.items():
        if name == "run_id":
            values = _repeated(run_id, count, dtype)
        elif isinstance(columns[name], pl.Series):
            values = columns[name]
        else:
            values = pl.Series(columns[name], dtype=dtype)
        series.append(values.rename(name) if values.dtype == dtype else values.cast(dtype).rename(name))
    return pl.DataFrame(series)


def _repeated(value: str | None, count: int, dtype: pl.DataType) -> pl.Series:
    """One value over and over, without a list."""
    return pl.Series([value], dtype=dtype).new_from_index(0, count)


def _scalars(records: Sequence[Any]) -> Columns:
    """Tables whose record is one row: steps, evals and events."""
    names = list(vars(records[0]))
    return {name: [getattr(r, name) for r in records] for name in names}


def _grid(steps: Sequence[int], *sizes: int) -> list[NDArray[Any]]:
    """Index columns of a C-ordered array [S, *sizes]: the step of each cell, then each index."""
    axes = np.indices((len(steps), *sizes), dtype=np.int32, sparse=False)
    flat = [axis.reshape(-1) for axis in axes]
    return [np.asarray(steps, dtype=np.int64)[flat[0]], *flat[1:]]


def _optional(arrays: Sequence[NDArray[Any] | None], size: int, dtype: pl.DataType) -> pl.Series:
    """Arrays of `size` cells one after another; None becomes NULLs."""
    if all(a is None for a in arrays):
        return _repeated(None, size * len(arrays), dtype)
    given = [a for a in arrays if a is not None]
    if len(given) == len(arrays):
        return pl.Series(np.concatenate([a.reshape(-1) for a in given])).cast(dtype)
    parts = [
        _repeated(None, size, dtype) if a is None else pl.Series(a.reshape(-1)).cast(dtype) for a in arrays
    ]
    return pl.concat(parts)


def _loads(records: Sequence[LoadRecord]) -> Columns:
    layers, experts = records[0].tokens_LE.shape
    size = layers * experts
    step, layer, expert = _grid([r.step for r in records], layers, experts)
    zeros = np.zeros(size, dtype=np.int64)
    return {
        "step": step,
        "layer": layer,
        "expert": expert,
        "tokens": np.concatenate([r.tokens_LE.reshape(-1) for r in records]),
        "dropped_tokens": np.concatenate(
            [zeros if r.dropped_tokens_LE is None else r.dropped_tokens_LE.reshape(-1) for r in records]
        ),
        "expert_bias": _optional([r.expert_bias_LE for r in records], size, pl.Float32()),
        "mean_score": _optional([r.mean_score_LE for r in records], size, pl.Float32()),
        "mean_normalised_score": _optional([r.mean_normalised_score_LE for r in records], size, pl.Float32()),
    }


def _layer_steps(records: Sequence[LayerRecord]) -> Columns:
    layers = records[0].num_layers
    step, layer = _grid([r.step for r in records], layers)
    columns: Columns = {"step": step, "layer": layer}
    for name, dtype in SCHEMAS["layer_steps"].items():
        if name not in ("run_id", "step", "layer"):
            values = _optional([getattr(r, f"{name}_L") for r in records], layers, dtype)
            # A mean over no token at all is NaN in the arrays, and unknown in the table.
            columns[name] = values.fill_nan(None) if dtype.is_float() else values
    return columns


def _sequence_loads(records: Sequence[SequenceLoadRecord]) -> Columns:
    layers, experts = records[0].tokens_BLE.shape[1:]
    lengths = [len(r.domains_B) for r in records]
    cells = layers * experts
    # One line a sequence first, then each line is spread over its layers and experts.
    line = np.repeat(np.arange(sum(lengths)), cells)
    per_record = np.repeat(np.arange(len(records)), lengths)
    steps = np.array([r.step for r in records], dtype=np.int64)[per_record]
    micro = np.array([r.micro_batch for r in records], dtype=np.int32)[per_record]
    sequence = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
    splits = pl.Series([r.split for r in records], dtype=pl.String()).gather(per_record)
    domains = pl.Series([name for r in records for name in r.domains_B], dtype=pl.String())
    cell = np.tile(np.arange(cells, dtype=np.int32), sum(lengths))
    return {
        "step": steps[line],
        "split": splits.gather(line),
        "micro_batch": micro[line],
        "sequence": sequence[line],
        "layer": cell // experts,
        "expert": cell % experts,
        "domain": domains.gather(line),
        "tokens": np.concatenate([r.tokens_BLE.reshape(-1) for r in records]),
    }


def _rank_loads(records: Sequence[RankLoadRecord]) -> Columns:
    step, rank, layer, expert = _grid([r.step for r in records], *records[0].tokens_RLE.shape)
    tokens = np.concatenate([r.tokens_RLE.reshape(-1) for r in records])
    return {"step": step, "rank": rank, "layer": layer, "expert": expert, "tokens": tokens}


def _eval_loads(records: Sequence[EvalLoadRecord]) -> Columns:
    layers, experts = records[0].tokens_LE.shape
    size = layers * experts
    step, layer, expert = _grid([r.step for r in records], layers, experts)
    line = np.repeat(np.arange(len(records)), size)
    return {
        "step": step,
        "split": pl.Series([r.split for r in records], dtype=pl.String()).gather(line),
        "domain": pl.Series([r.domain for r in records], dtype=pl.String()).gather(line),
        "layer": layer,
        "expert": expert,
        "tokens": np.concatenate([r.tokens_LE.reshape(-1) for r in records]),
        "expert_bias": _optional([r.expert_bias_LE for r in records], size, pl.Float32()),
    }


def _probe_scores(records: Sequence[ProbeRecord]) -> Columns:
    parts: list[Columns] = []
    for r in records:
        tokens, layers, experts = r.router_logits_PLE.shape
        step, token, layer = _grid([r.step], tokens, layers)
        rows = tokens * layers
        bias = _repeated(None, rows, pl.List(pl.Float32()))
        if r.expert_bias_LE is not None:
            spread = np.broadcast_to(r.expert_bias_LE, (tokens, layers, experts)).reshape(rows, experts)
            bias = _lists(spread, pl.Float32())
        parts.append(
            {
                "step": pl.Series(step),
                "token": pl.Series(token),
                "layer": pl.Series(layer),
                "router_logits": _lists(r.router_logits_PLE.reshape(rows, -1), pl.Float32()),
                "selected_experts": _chosen(r.selected_experts_PLK.reshape(rows, -1), experts),
                "expert_bias": bias,
            }
        )
    return {name: pl.concat([part[name] for part in parts]) for name in parts[0]}


def _chosen(rows: NDArray[Any], num_experts: int) -> pl.Series:
    """One list of expert ids a row; empty slots, which hold the number of experts, are left out."""
    lists = _lists(rows, pl.Int32())
    if (rows < num_experts).all():
        return lists
    return lists.list.filter(pl.element() < num_experts)


def _lists(rows: NDArray[Any], inner: pl.DataType) -> pl.Series:
    """[rows, width] -> a column with one list a row."""
    flat = pl.Series(np.ascontiguousarray(rows).reshape(-1)).cast(inner)
    return flat.reshape(rows.shape).cast(pl.List(inner))


_BUILDERS: dict[str, Callable[[Sequence[Any]], Columns]] = {
    "expert_loads": _loads,
    "layer_steps": _layer_steps,
    "sequence_loads": _sequence_loads,
    "rank_loads": _rank_loads,
    "eval_loads": _eval_loads,
    "probe_scores": _probe_scores,
}
