"""Where a run computes, and how to keep a CPU quiet and fast."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch

from explorer.errors import TrainingError


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
