"""What models call their MoE layers, where runs were recorded with their names."""

import json
import re
from collections.abc import Sequence
from typing import Any

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.recording.layer_names import name_of


def layer_name(run: Run, layer: int) -> str:
    """E.g. `model.layers.3.mlp.gate`; empty where the run does not say. layer: the model's own number."""
    if '"layer_names"' not in run.config:  # most runs: nothing to parse
        return ""
    try:
        config = json.loads(run.config)
    except (TypeError, ValueError):
        return ""
    return name_of(config if isinstance(config, dict) else None, run.layers, layer)


def names_note(runs: Sequence[Run], layer: int) -> str:
    """`Layer 3 is model.layers.3.mlp.gate.`; every name where runs differ; empty where none says."""
    by_name: dict[str, list[str]] = {}
    for run in runs:
        name = layer_name(run, layer)
        if name:
            by_name.setdefault(name, []).append(run.run_id)
    if len(by_name) < 2:
        return "".join(f"Layer {layer} is {name}." for name in by_name)
    parts = [f"{name} in {', '.join(run_ids)}" for name, run_ids in by_name.items()]
    return f"Layer {layer} is {'; '.join(parts)}."


def named_subject(subject: str, arms: ArmSet, settings: Any) -> str:
    """A subject with the name of its layer: `Expert load, layer 3 (model.layers.3.mlp.gate)`."""
    layer = getattr(settings, "layer", None)
    if not isinstance(layer, int):
        return subject
    names = ", ".join(dict.fromkeys(name for run in arms.runs if (name := layer_name(run, layer))))
    if not names:
        return subject
    return re.sub(rf"\blayer {layer}\b", lambda match: f"{match[0]} ({names})", subject, count=1)
