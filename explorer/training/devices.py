"""Device selection, CPU settings and step timing."""

import contextlib
import ctypes
import os
import platform
import time
from collections.abc import Callable, Iterator

import torch

from explorer.errors import TrainingError


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA if available, else the CPU; `cuda` raises an error where there is none.

    Under `torchrun` every process of a machine has its own GPU. A GPU that is present but does not compute
    (driver and torch do not match, no memory left, in use by another process) raises an error under either
    name: silently falling back to the CPU would be a hundred times slower.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    _refuse_absent(name)
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise TrainingError(
            f"training.device = {name!r}: process {index} of this machine needs a GPU of its own, and there "
            f"are {torch.cuda.device_count()}; start that many processes or use training.device=cpu."
        )
    device = torch.device("cuda", index)
    try:
        torch.zeros(1, device=device).add_(1).item()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"training.device = {name!r}: {device} does not compute ({reason}); "
            "use training.device=cpu or mend the driver."
        ) from error
    # Events and libraries use the current device, which `torchrun` leaves at the first for every process.
    torch.cuda.set_device(device)
    return device


def _refuse_absent(name: str) -> None:
    if torch.cuda.is_available():
        return
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        raise TrainingError(
            f"training.device = {name!r}: torch {torch.__version__} is built for CPUs only; "
            "install a torch with CUDA or use training.device=auto."
        )
    raise TrainingError(
        f"training.device = {name!r}: this machine has no usable CUDA device; use training.device=auto."
    )


def device_name(device: torch.device) -> str:
    """The display name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"


@contextlib.contextmanager
def quiet_cpu(num_threads: int) -> Iterator[None]:
    """A fixed number of threads and no denormal floats, restored afterwards.

    Default thread counts oversubscribe a busy machine (ten times slower), denormals make a step
    three times slower, and returning every large buffer to the kernel costs a tenth of a step.
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


class StepClock:
    """Measures step durations without synchronising with the device.

    On a GPU the host only queues a step's work, so host time is meaningless: CUDA events mark start and
    end, and their difference is read when the step's other measurements are fetched.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_queued = device.type == "cuda"

    def start(self) -> Callable[[], Callable[[], float]]:
        """Start a step. Call the result at its end; the callable that this returns gives the seconds."""
        if self.is_queued:
            return self._start_queued()
        began = time.perf_counter()

        def stop() -> Callable[[], float]:
            seconds = time.perf_counter() - began
            return lambda: seconds

        return stop

    @staticmethod
    def _start_queued() -> Callable[[], Callable[[], float]]:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()

        def stop() -> Callable[[], float]:
            ended.record()

            def seconds() -> float:
                ended.synchronize()
                return float(began.elapsed_time(ended)) / 1e3

            return seconds

        return stop


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bf16 on CUDA (the router stays in fp32), full precision on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
