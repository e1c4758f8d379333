"""Records -> one Polars frame per table, with the columns of `explorer/records/tables.py`.

Everything works on whole arrays: a flush costs a few numpy calls per table, for any number
of rows. Shapes: S records, L layers, E experts, B sequences, R ranks, P tokens; C cells, the experts of all
layers (`Layout`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.recording.layout import Layout
from explorer.recording.schema import SCHEMAS
from explorer.records.records import (
    EvalLoadRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    RankLoadRecord,
    SequenceLoadRecord,
)

Columns = dict[str, Any]


def to_frame(table: str, run_id: str, records: Sequence[Any], layout: Layout) -> pl.DataFrame:
    """The rows of `records`, which all belong to `table`, in unspecified order. Needs at least one record."""
    columns = _BUILDERS[table](records, layout) if table in _BUILDERS else _scalars(records)
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
    """A series that repeats one value, without building a list."""
    return pl.Series([value], dtype=dtype).new_from_index(0, count)


def _scalars(records: Sequence[Any]) -> Columns:
    """Tables whose record is one row: steps, evals and events."""
    names = list(vars(records[0]))
    return {name: [getattr(r, name) for r in records] for name in names}


def _cells(steps: Sequence[int], layout: Layout) -> Columns:
    """Key columns of an array [S, C]: the step of each cell, its layer and its expert."""
    return {
        "step": np.repeat(np.asarray(steps, dtype=np.int64), len(layout.layer_C)),
        "layer": np.tile(layout.layer_C, len(steps)),
        "expert": np.tile(layout.expert_C, len(steps)),
    }


def _flat(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The cells of the arrays, concatenated."""
    return np.concatenate([a.reshape(-1) for a in arrays])


def _optional(arrays: Sequence[NDArray[Any] | None], size: int, dtype: pl.DataType) -> pl.Series:
    """Arrays of `size` cells, concatenated; None becomes NULLs."""
    if all(a is None for a in arrays):
        return _repeated(None, size * len(arrays), dtype)
    present = [a for a in arrays if a is not None]
    if len(present) == len(arrays):
        return pl.Series(np.concatenate([a.reshape(-1) for a in present])).cast(dtype)
    parts = [
        _repeated(None, size, dtype) if a is None else pl.Series(a.reshape(-1)).cast(dtype) for a in arrays
    ]
    return pl.concat(parts)


def _loads(records: Sequence[LoadRecord], layout: Layout) -> Columns:
    size = len(layout.layer_C)
    zeros = np.zeros(size, dtype=np.int64)
    return _cells([r.step for r in records], layout) | {
        "tokens": _flat([r.tokens_LE for r in records]),
        "dropped_tokens": _flat(
            [zeros if r.dropped_tokens_LE is None else r.dropped_tokens_LE for r in records]
        ),
        "expert_bias": _optional([r.expert_bias_LE for r in records], size, pl.Float32()),
        "mean_score": _optional([r.mean_score_LE for r in records], size, pl.Float32()),
        "mean_normalised_score": _optional([r.mean_normalised_score_LE for r in records], size, pl.Float32()),
    }


def _layer_steps(records: Sequence[LayerRecord], layout: Layout) -> Columns:
    columns: Columns = {
        "step": np.repeat(np.array([r.step for r in records], dtype=np.int64), layout.num_layers),
        "layer": np.tile(np.asarray(layout.layers, dtype=np.int32), len(records)),
    }
    for name, dtype in SCHEMAS["layer_steps"].items():
        if name not in ("run_id", "step", "layer"):
            values = _optional([getattr(r, f"{name}_L") for r in records], layout.num_layers, dtype)
            # A mean over zero tokens is NaN in the arrays and NULL in the table.
            columns[name] = values.fill_nan(None) if dtype.is_float() else values
    return columns


def _sequence_loads(records: Sequence[SequenceLoadRecord], layout: Layout) -> Columns:
    lengths = [len(r.domains_B) for r in records]
    # First one row per sequence, then each row is repeated for its layers and experts.
    line = np.repeat(np.arange(sum(lengths)), len(layout.layer_C))
    per_record = np.repeat(np.arange(len(records)), lengths)
    micro = np.array([r.micro_batch for r in records], dtype=np.int32)[per_record]
    sequence = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])
    splits = pl.Series([r.split for r in records], dtype=pl.String()).gather(per_record)
    domains = pl.Series([name for r in records for name in r.domains_B], dtype=pl.String())
    return _cells(np.array([r.step for r in records])[per_record].tolist(), layout) | {
        "split": splits.gather(line),
        "micro_batch": micro[line],
        "sequence": sequence[line],
        "domain": domains.gather(line),
        "tokens": _flat([r.tokens_BLE for r in records]),
    }


def _rank_loads(records: Sequence[RankLoadRecord], layout: Layout) -> Columns:
    # The number of ranks may change in the middle of a run.
    steps = [r.step for r in records for _ in r.tokens_RLE]
    ranks = np.concatenate([np.arange(len(r.tokens_RLE), dtype=np.int32) for r in records])
    return _cells(steps, layout) | {
        "rank": np.repeat(ranks, len(layout.layer_C)),
        "tokens": _flat([r.tokens_RLE for r in records]),
    }


def _eval_loads(records: Sequence[EvalLoadRecord], layout: Layout) -> Columns:
    size = len(layout.layer_C)
    line = np.repeat(np.arange(len(records)), size)
    return _cells([r.step for r in records], layout) | {
        "split": pl.Series([r.split for r in records], dtype=pl.String()).gather(line),
        "domain": pl.Series([r.domain for r in records], dtype=pl.String()).gather(line),
        "tokens": _flat([r.tokens_LE for r in records]),
        "expert_bias": _optional([r.expert_bias_LE for r in records], size, pl.Float32()),
    }


def _probe_scores(records: Sequence[ProbeRecord], layout: Layout) -> Columns:
    parts = [
        _probe_layer(record, index, layer, cells)
        for record in records
        for index, (layer, cells) in enumerate(layout.slices())
    ]
    return {name: pl.concat([part[name] for part in parts]) for name in parts[0]}


def _probe_layer(record: ProbeRecord, index: int, layer: int, cells: slice) -> Columns:
    """One row per probe token, of one layer."""
    tokens = len(record.selected_experts_PLK)
    width = cells.stop - cells.start
    logits = bias = _repeated(None, tokens, pl.List(pl.Float32()))
    if record.router_logits_PLE is not None:
        logits = _lists(record.router_logits_PLE.reshape(tokens, -1)[:, cells], pl.Float32())
    if record.expert_bias_LE is not None:
        bias = _lists(
            np.broadcast_to(record.expert_bias_LE.reshape(-1)[cells], (tokens, width)), pl.Float32()
        )
    return {
        "step": pl.Series([record.step], dtype=pl.Int64()).new_from_index(0, tokens),
        "token": pl.Series(np.arange(tokens, dtype=np.int32)),
        "layer": pl.Series([layer], dtype=pl.Int32()).new_from_index(0, tokens),
        "router_logits": logits,
        "selected_experts": _expert_ids(record.selected_experts_PLK[:, index], width),
        "expert_bias": bias,
    }


def _expert_ids(rows: NDArray[Any], num_experts: int) -> pl.Series:
    """One list of expert ids per row; empty slots, which hold the number of experts, are left out."""
    lists = _lists(rows, pl.Int32())
    if (rows < num_experts).all():
        return lists
    return lists.list.filter(pl.element() < num_experts)


def _lists(rows: NDArray[Any], inner: pl.DataType) -> pl.Series:
    """[rows, width] -> a column with one list per row."""
    flat = pl.Series(np.ascontiguousarray(rows).reshape(-1)).cast(inner)
    return flat.reshape(rows.shape).cast(pl.List(inner))


_BUILDERS: dict[str, Callable[[Sequence[Any], Layout], Columns]] = {
    "expert_loads": _loads,
    "layer_steps": _layer_steps,
    "sequence_loads": _sequence_loads,
    "rank_loads": _rank_loads,
    "eval_loads": _eval_loads,
    "probe_scores": _probe_scores,
}
