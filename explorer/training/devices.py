"""Where a run computes, and how to keep a CPU quiet and fast."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch

from explorer.config import RunConfig
from explorer.errors import TrainingError
from explorer.rules import Quantile


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; asking for an absent CUDA is refused.

    Under `torchrun` every process of a machine has a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "training.device = 'cuda': this machine has no usable CUDA device; use training.device=auto."
        )
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)
    )


def device_name(device: torch.device) -> str:
    """A name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"


@contextlib.contextmanager
def quiet_cpu(num_threads: int) -> Iterator[None]:
    """A fixed number of threads and no denormal floats, restored afterwards.

    Default thread counts fight on a busy machine (ten times slower), denormals slow a step
    threefold, and giving every large buffer back to the kernel costs a tenth of a step.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def keep_freed_memory() -> None:
    """Ask glibc to reuse large buffers instead of unmapping them; elsewhere do nothing."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    mmap_threshold, trim_threshold = -3, -1
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bf16 on CUDA (the router stays in fp32 by itself), full precision on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def host_waits(config: RunConfig) -> tuple[str, ...]:
    """What the host waits for within a step on a GPU; empty where it only queues work.

    Everything else stays on the device until several steps are fetched at once. A waiting host leaves
    the GPU idle for the time of a launch; the result is the same. (`grouped_mm` itself waits as well, once per
    product, on a GPU without the kernel for bf16: those older than compute capability 9.)
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
