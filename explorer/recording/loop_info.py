"""run.json of a run recorded by a training loop that is not ours."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.errors import RunFolderError
from explorer.recording.folder_schema import MAX_DEPTH
from explorer.recording.info import RunInfo, make_run_id
from explorer.recording.stated_rules import StatedRules, complete
from explorer.recording.tensors import is_tensor
from explorer.recording.values import preview

SOURCE = "recorded"


def describe(
    runs_dir: Path,
    *,
    num_experts: Any,
    num_layers: int,
    top_k: int,
    run_id: str | None,
    name: str,
    config: Any,
    layer_numbers: Sequence[int] | None,
    layer_names: Sequence[str] | None,
    balancer: str,
    **values: Any,
) -> RunInfo:
    """Sizes and names as `Recorder` takes them -> RunInfo. Raises RunFolderError for impossible sizes.

    num_experts: one number, or one per layer. config: as `kept_config` takes it. values: further fields of
    RunInfo.
    """
    for size, value in {"num_layers": num_layers, "top_k": top_k}.items():
        if isinstance(value, int | float) and value < 1:
            raise RunFolderError(f"{size} = {value}: must be at least 1; a run without routers has no loads.")
    widths = tuple(num_experts) if hasattr(num_experts, "__len__") else None
    run_id = run_id or make_run_id(runs_dir, preset=SOURCE, family=name or "run", seed=values.get("seed"))
    details = kept_config(config)
    if layer_names is not None:
        names = [str(layer) for layer in layer_names]
        if len(names) != num_layers:
            raise RunFolderError(
                f"layer_names = {preview(names)}: must be {num_layers} names; name every MoE layer."
            )
        details["layer_names"] = names
    return RunInfo(
        run_id=run_id,
        name=name or run_id,
        num_moe_layers=num_layers,
        num_experts=num_experts if widths is None else max(widths, default=0),
        experts_per_layer=widths,
        layers=None if layer_numbers is None else tuple(layer_numbers),
        top_k=top_k,
        config=details,
        source=SOURCE,
        **_rule(balancer),
        **values,
    )


def _rule(text: str) -> dict[str, Any]:
    """A rule in the notation of docs/strategies.md, or what its user calls it."""
    if not text:
        return {}
    is_notation = bool(complete(StatedRules(balancer="", label=text, family="", scope="")).balancer)
    return {"balancer" if is_notation else "balancer_label": text}


def kept_config(config: Any) -> dict[str, Any]:
    """A configuration as people have it -> a dictionary for `run.json`.

    config: a mapping, an argparse.Namespace, a dataclass or None. What JSON cannot hold, such as a dtype or
    a function, becomes its text: a setting that nobody looks at must not stop training. Raises
    RunFolderError for anything else.
    """
    if config is None:
        return {}
    details = _kept(config, MAX_DEPTH)
    if not isinstance(details, dict):
        raise RunFolderError(
            f"config = {preview(config)}: must be a dictionary, a Namespace or a dataclass; give one of them."
        )
    return details


def _kept(value: Any, levels: int) -> Any:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    elif is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if levels == 0:  # nested too deeply; writing run.json raises the error
        return value
    if isinstance(value, Mapping):
        return {str(key): _kept(part, levels - 1) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_kept(part, levels - 1) for part in value]
    known = value is None or isinstance(value, bool | int | float | str | Path | np.ndarray | np.generic)
    return value if known or is_tensor(value) else str(value)
