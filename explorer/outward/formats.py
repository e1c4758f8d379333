"""One writer per format: a run's loads in, bytes of a file out.

Shapes: L MoE layers, E experts, P physical slots.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from explorer.errors import ConfigError
from explorer.outward.loads import COLUMNS, Counts, RunLoads
from explorer.routing.placement import plan

EMPTY_COLUMNS = ("expert_bias", "dropped_tokens")
"""Columns that a table leaves out if they hold nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does not say about the system that will read the file."""

    ep_size: int = 1
    """GPUs that share the experts of a layer."""
    redundant_experts: int = 0
    """Extra replicas per layer."""
    num_layers: int = 0
    """Layers of the whole model; 0: up to the last MoE layer."""


@dataclass(frozen=True, kw_only=True)
class OutwardFormat:
    """A file format of another system."""

    label: str
    """What the file is for."""
    write: Callable[[RunLoads, Settings, BinaryIO], None]
    """Raises ConfigError where the run does not fit into the format."""
    import_as: str
    """The format that reads it back (`python -m explorer import --format`)."""
    is_placement: bool = False
    names_layers: bool = True
    """Whether the file has the model's own layer numbers."""


def _sglang(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    rows = loads.whole_model(loads.totals(), [0] * loads.num_experts, settings.num_layers)
    file.write(_json({"logical_count": rows}))


def _sglang_placement(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    slots_LP = _slots(loads, settings)
    dense = (np.arange(slots_LP.shape[1]) % loads.num_experts).tolist()
    rows = loads.whole_model(slots_LP, dense, settings.num_layers)
    file.write(_json({"physical_to_logical_map": rows}))


def _vllm_placement(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    file.write(_json(_slots(loads, settings).tolist()))


def _slots(loads: RunLoads, settings: Settings) -> Counts:
    """The expert in every physical slot [L, P]."""
    slots = loads.num_experts + settings.redundant_experts
    if settings.ep_size < 1 or slots % settings.ep_size:
        rule = f"must divide the {slots} slots of a layer ({loads.num_experts} experts and their replicas)"
        remedy = "correct --ep-size or --redundant-experts"
        raise ConfigError("--ep-size", settings.ep_size, rule, remedy)
    return plan(loads.totals(), slots=slots, gpus=settings.ep_size)


def _eplb(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    np.save(file, loads.totals(), allow_pickle=False)


def _vllm_eplb(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    layers = len(loads.info.layer_numbers)
    identity = [list(range(loads.num_experts))] * layers
    sizes = {"num_ranks": settings.ep_size, "num_groups": 1, "num_nodes": 1, "num_layers": layers}
    meta = {"type": "eplb_load_meta", "version": 1, "model": loads.info.name, **sizes}
    file.write(_json(meta | {"num_redundant_experts": 0}))
    for step, tokens_LE in loads.arrays():
        stats = {"type": "eplb_load_stats", "version": 1, "step": step, "num_layers": layers}
        file.write(_json(stats | {"expert_load": tokens_LE.tolist(), "p2l_map": identity}))


def _csv(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    for number, frame in enumerate(_tables(loads)):
        frame.write_csv(file, include_header=number == 0)


def _parquet(loads: RunLoads, settings: Settings, file: BinaryIO) -> None:
    first = next(_tables(loads))

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        return _tables(loads)

    register_io_source(batches, schema=first.schema).sink_parquet(file, compression="zstd")


def _tables(loads: RunLoads) -> Iterator[pl.DataFrame]:
    """One row per (step, layer, expert), without the columns that are empty in the whole run."""
    columns: list[str] = []
    for frame in loads.frames():
        if not columns:
            used = {name: frame[name].is_not_null().any() for name in COLUMNS}
            used["dropped_tokens"] = used["dropped_tokens"] and bool(frame["dropped_tokens"].sum())
            columns = [name for name in COLUMNS if used[name] or name not in EMPTY_COLUMNS]
        yield frame.select(columns)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


FORMATS: dict[str, OutwardFormat] = {
    "sglang": OutwardFormat(
        label="SGLang --init-expert-location: counts, from which SGLang plans the placement",
        write=_sglang,
        import_as="sglang",
    ),
    "sglang-placement": OutwardFormat(
        label="SGLang --init-expert-location: a placement, planned here",
        write=_sglang_placement,
        import_as="placement_map",
        is_placement=True,
    ),
    "vllm-placement": OutwardFormat(
        label="vLLM eplb_config.initial_expert_map_path: a placement, planned here",
        write=_vllm_placement,
        import_as="placement_map",
        is_placement=True,
        names_layers=False,
    ),
    "vllm-eplb": OutwardFormat(
        label="vLLM EPLB statistics, JSON lines with the loads of every step",
        write=_vllm_eplb,
        import_as="vllm_eplb",
        names_layers=False,
    ),
    "eplb": OutwardFormat(
        label="EPLB's `weight` [layers, experts] as .npy",
        write=_eplb,
        import_as="npy",
        names_layers=False,
    ),
    "csv": OutwardFormat(
        label="table with one row per step, layer and expert", write=_csv, import_as="table"
    ),
    "parquet": OutwardFormat(
        label="table with one row per step, layer and expert", write=_parquet, import_as="table"
    ),
}
