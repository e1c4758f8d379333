"""What a model calls its MoE layers, where a run was recorded with their names."""

from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 200


def name_of(config: Mapping[str, Any] | None, layers: Sequence[int], layer: int) -> str:
    """E.g. `model.layers.3.mlp.gate`; empty where the configuration does not say.

    config, layers: of run.json, where `layer_names` has one name per MoE layer; layer: its own number.
    """
    names = (config or {}).get("layer_names")
    if not isinstance(names, list) or len(names) != len(layers) or layer not in layers:
        return ""
    return str(names[list(layers).index(layer)])[:LONGEST]
