"""What a model calls its MoE layers, where the run was recorded with their names."""

from explorer.figures.arms import Run
from explorer.figures.biases import config_of

LONGEST = 200


def layer_name(run: Run, layer: int) -> str:
    """E.g. `model.layers.3.mlp.gate`; empty where the run does not say. layer: the model's own number."""
    names = (config_of(run) or {}).get("layer_names")
    if not isinstance(names, list) or len(names) != len(run.layers) or layer not in run.layers:
        return ""
    return str(names[run.layers.index(layer)])[:LONGEST]
