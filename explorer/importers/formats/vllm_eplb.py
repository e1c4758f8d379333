"""vLLM's EPLB statistics as JSON lines: loads of physical experts with the map to logical ones.

Lines: `eplb_load_meta` (sizes), `eplb_load_stats` {"step", "expert_load" [layers][physical], "p2l_map" of
the same shape}, `eplb_initial_mapping`, and markers such as `bench_run_start`. Older files lack the line of
sizes. Steps without any load are idle and left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from explorer.importers.arrays import checked_size, count_array, number_array
from explorer.importers.formats.sglang_recorder import to_logical
from explorer.importers.load_checks import live_layers
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import Counts, ForeignRun, LoadStep, model_layers
from explorer.recording.folder_schema import LARGEST_STEP

STATS = "eplb_load_stats"


class VllmEplb:
    """The format's reader."""

    name = "vllm_eplb"
    label = "vLLM EPLB statistics"
    options = ()

    def matches(self, source: Source) -> bool:
        return b"eplb_load_" in source.head or (
            b'"expert_load"' in source.head and b'"p2l_map"' in source.head
        )

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        sizes: dict[str, Any] = {}
        total_L: Counts | None = None
        stats = idle = restarts = 0
        num_experts, before = 0, -1
        for place, record in _records(source):
            if "expert_load" not in record:
                sizes |= _sizes(record)
                continue
            step, physical = _loads(record, source, place)
            if not num_experts:
                num_experts = options.num_experts(_stated_experts(sizes, record, physical, source, place))
            total_L = physical.sum(axis=1) if total_L is None else total_L + physical.sum(axis=1)
            stats += 1
            idle += not physical.any()
            restarts += step <= before
            before = step
        if total_L is None:
            raise source.problem("", f"holds no line of {STATS}")
        live = live_layers(total_L, range(len(total_L)), source, report)
        if idle:
            report.left_out("idle_steps", f"{idle:,} of {stats:,} steps without any load.", steps=idle)
        if restarts:
            report.warning(
                "engine_starts",
                f"The steps go back {restarts} times: {restarts + 1} starts of an engine are in one file. "
                "Later ones are numbered on.",
                starts=restarts + 1,
            )
        yield ForeignRun(
            steps=_steps(source, live, num_experts),
            layers=model_layers(options, range(len(total_L)), live),
            num_experts=num_experts,
            top_k=options.top_k(),
            report=report,
            phase="serving",
            details=sizes,
        )


def _records(source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, record) of each line; a record may be wrapped in an object with its kind as the key."""
    for number, line in source.lines():
        place = f"line {number}"
        record = source.decoded(line, place)
        if (
            isinstance(record, Mapping)
            and len(record) == 1
            and isinstance(inner := next(iter(record.values())), Mapping)
        ):
            record = inner
        if not isinstance(record, Mapping):
            raise source.problem(place, "must be an object")
        yield place, record


def _sizes(record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model", "num_ranks", "num_groups", "num_nodes", "num_layers", "num_redundant_experts")
    return {name: record[name] for name in names if isinstance(record.get(name), int | str)}


def _loads(record: Mapping[str, Any], source: Source, place: str) -> tuple[int, Counts]:
    """Step and loads [L, P] of a line."""
    step = record.get("step")
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= LARGEST_STEP:
        raise source.problem(place, f"step must be a whole number from 0 to {LARGEST_STEP}")
    array = number_array(record["expert_load"], 2, source, f"{place}, expert_load")
    return step, count_array(array, source, f"{place}, expert_load")


def _map(record: Mapping[str, Any], physical: Counts, num_experts: int, source: Source, place: str) -> Counts:
    """Logical expert of each physical one, [L, P]."""
    if record.get("p2l_map") is None:
        if physical.shape[1] != num_experts:
            rule = f"lacks p2l_map, with {physical.shape[1]} physical and {num_experts} logical experts"
            raise source.problem(place, rule, "log the map, or load without redundant experts")
        return np.broadcast_to(np.arange(num_experts), physical.shape)
    place = f"{place}, p2l_map"
    logical = count_array(number_array(record["p2l_map"], 2, source, place), source, place)
    if logical.shape != physical.shape:
        raise source.problem(place, f"has the shape {logical.shape}, which must be {physical.shape}")
    return logical


def _stated_experts(
    sizes: Mapping[str, Any], record: Mapping[str, Any], physical: Counts, source: Source, place: str
) -> int | None:
    """E: physical experts without the redundant ones; else from the map, which contains every expert."""
    redundant = sizes.get("num_redundant_experts", record.get("num_redundant_experts"))
    if redundant is not None and isinstance(redundant, int) and 0 <= redundant < physical.shape[1]:
        return int(physical.shape[1]) - redundant
    if record.get("p2l_map") is None:
        return None
    logical = number_array(record["p2l_map"], 2, source, f"{place}, p2l_map")
    names = np.unique(logical)
    complete = len(names) == int(names[-1]) + 1 and names[0] == 0
    return checked_size(int(names[-1]) + 1, "p2l_map", source, place) if complete else None


def _steps(source: Source, live: list[int], num_experts: int) -> Iterator[LoadStep]:
    before, offset = -1, 0
    shape: tuple[int, ...] = ()
    for place, record in _records(source):
        if "expert_load" not in record:
            continue
        step, physical = _loads(record, source, place)
        shape = shape or physical.shape
        if physical.shape[0] != shape[0]:
            raise source.problem(place, f"has {physical.shape[0]} layers, which must be {shape[0]}")
        if step + offset <= before:
            offset = before + 1 - step
        if not physical.any():
            continue
        before = step + offset
        logical = to_logical(
            physical, _map(record, physical, num_experts, source, place), num_experts, source
        )
        yield LoadStep(step=before, tokens_LE=logical[live])


FORMATS = (VllmEplb(),)
