"""run.json of a run recorded by a training loop that is not ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.errors import RunFolderError
from explorer.recording.info import RunInfo, make_run_id
from explorer.recording.stated_rules import StatedRules, complete
from explorer.recording.values import preview

SOURCE = "recorded"


def describe(
    runs_dir: Path,
    *,
    num_experts: Any,
    num_layers: int,
    run_id: str | None,
    name: str,
    config: Mapping[str, Any] | None,
    layer_numbers: Sequence[int] | None,
    layer_names: Sequence[str] | None,
    balancer: str,
    **values: Any,
) -> RunInfo:
    """Sizes and names as `Recorder` takes them -> RunInfo. Raises RunFolderError for impossible sizes.

    num_experts: one number, or one per layer. values: further fields of RunInfo.
    """
    widths = tuple(num_experts) if hasattr(num_experts, "__len__") else None
    run_id = run_id or make_run_id(runs_dir, preset=SOURCE, family=name or "run", seed=values.get("seed"))
    details = dict(config or {})
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
