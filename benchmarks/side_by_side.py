"""Times several functions in turn within one process, so that a drifting machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def time_in_turn(
    functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3
) -> dict[str, list[float]]:
    """Seconds of each call, A B C A B C …; the first `warmup` rounds are thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + warmup):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[warmup:] for name, values in seconds.items()}


def ratio(above: list[float], below: list[float]) -> str:
    """Median of the paired ratios, with the middle half of them."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    quarter = len(ratios) // 4
    return f"{statistics.median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-quarter - 1]:.2f})"
