"""Placements of experts: where they lie, not how busy they are. SGLang and vLLM: the expert in every physical
slot, [layers][slots]; vLLM-Ascend: a list per device. The numbers of a run are replicas per expert.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from explorer.importers.arrays import count_array, number_array
from explorer.importers.formats.small_json import LoadRows, SmallJson
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.recording.info import REPLICAS


class AscendMap(SmallJson):
    """`layer_list` [{"layer_id", "device_list" [{"device_expert" […]}]}]: the placement of experts, not
    their load."""

    unit = REPLICAS

    def rows(self, document: Mapping[str, Any], source: Source, options: Options, report: Report) -> LoadRows:
        table = document.get("layer_list")
        if not isinstance(table, list) or not table:
            raise source.problem("layer_list", "must be a list of layers")
        placed: dict[int, list[int]] = {}
        for number, layer in enumerate(table):
            place = f"layer_list, entry {number}"
            key = layer.get("layer_id") if isinstance(layer, Mapping) else None
            devices = layer.get("device_list") if isinstance(layer, Mapping) else None
            if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < 10_000:
                raise source.problem(place, "layer_id must be a number from 0 to 9999")
            if not isinstance(devices, list) or not devices:
                raise source.problem(place, "must have a device_list")
            placed[key] = []
            for device in devices:
                value = device.get("device_expert") if isinstance(device, Mapping) else None
                array = number_array(value, 1, source, f"{place}, device_expert")
                placed[key] += count_array(array, source, f"{place}, device_expert").tolist()
        return _replicas(placed, source, options, report)


class PlacementMap:
    """SGLang's `{"physical_to_logical_map": [layers][slots]}`; vLLM's list alone, [layers][slots] or [slots].

    The list of vLLM has no key, so a nested one looks like EPLB's `weight` and must be named with `--format`.
    """

    name = "placement_map"
    label = "placement map of SGLang or vLLM"
    options = ()

    def matches(self, source: Source) -> bool:
        head = source.head.lstrip()
        return re.match(rb'\{\s*"physical_to_logical_map"\s*:|\[\s*\d+\s*,', head) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        document = source.document()
        value = document.get("physical_to_logical_map") if isinstance(document, Mapping) else document
        is_flat = isinstance(value, list) and bool(value) and not isinstance(value[0], list)
        rows = [value] if is_flat else value
        slots = count_array(number_array(rows, 2, source, "the map"), source, "the map")
        report = Report()
        in_file, replicas = _replicas(dict(enumerate(slots.tolist())), source, options, report)
        yield ForeignRun(
            steps=[LoadStep(step=0, tokens_LE=replicas)],
            layers=model_layers(options, in_file),
            num_experts=replicas.shape[1],
            top_k=options.top_k(),
            report=report,
            phase="serving",
            unit=REPLICAS,
        )


def _replicas(
    placed: Mapping[int, Sequence[int]], source: Source, options: Options, report: Report
) -> LoadRows:
    """Layer -> the expert in every slot, as replicas [L, E]."""
    # A placement must contain every expert at least once.
    complete = all(len(set(ids)) == max(ids) + 1 for ids in placed.values())
    widest = max(max(ids) for ids in placed.values()) + 1
    experts = options.num_experts(widest if complete else None)
    tokens = zeros(len(placed), experts)
    for place_number, key in enumerate(sorted(placed)):
        if max(placed[key]) >= experts:
            rule = f"names expert {max(placed[key])}, which must be below num_experts ({experts})"
            raise source.problem(f"layer {key}", rule, "correct --option num_experts")
        tokens[place_number] = np.bincount(placed[key], minlength=experts)
    report.warning(
        "placement",
        "A placement map: it says where experts lie, not how busy they are. The numbers of the run are "
        "replicas per expert, not assignments.",
    )
    return sorted(placed), tokens


FORMATS = (
    AscendMap("ascend_map", "vLLM-Ascend placement map", (b'"layer_list"', b'"device_list"')),
    PlacementMap(),
)
