"""Where the host waits for a GPU within a training step, as benchmarks and tests check it."""

import torch

from explorer.config.rule_text import Quantile
from explorer.config.run import RunConfig


def host_waits(config: RunConfig) -> tuple[str, ...]:
    """Reasons why the host waits within a step on a GPU; empty where it only queues work.

    Everything else stays on the device until several steps are fetched at once. A waiting host leaves
    the GPU idle for the time of a launch; the result is the same. `grouped_mm` itself also waits on a
    GPU for which it has no kernel, see `has_grouped_kernel`.
    """
    model, waits = config.model, []
    is_ragged = (
        model.routing in ("expert_choice", "expert_threshold")
        or model.top_p is not None
        or model.capacity_factor is not None
        or model.random_second
    )
    if is_ragged and model.dispatch != "dense":
        waits.append("how many assignments are served")
    widths = (model.hidden_size, 2 * model.expert_hidden_size, model.expert_hidden_size)
    is_aligned = all(width * torch.bfloat16.itemsize % 16 == 0 for width in widths)
    if model.dispatch == "loop" or (model.dispatch == "auto" and not is_aligned):
        waits.append("the load of every expert, for one product per expert")
    if any(isinstance(rule, Quantile) and not rule.num_bins for rule in config.balancer.rules):
        waits.append("the rank of the exact quantile")
    return tuple(waits)


def has_grouped_kernel(device: torch.device) -> bool:
    """Whether `grouped_mm` runs in one kernel on this device: bf16 on compute capability 9.x or 10.x.

    Elsewhere PyTorch fetches the offsets and makes one product per expert.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in (9, 10)
