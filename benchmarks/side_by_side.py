"""Time several functions alternately in one process, so that drifting machine speed affects all equally."""

import statistics
import time
from collections.abc import Callable, Mapping


def time_in_turn(
    functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3
) -> dict[str, list[float]]:
    """Seconds of each call, A B C A B C …; the first `warmup` rounds are discarded."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + warmup):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[warmup:] for name, values in seconds.items()}


def ratio(above: list[float], below: list[float]) -> str:
    """Median of the paired ratios, with their interquartile range."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    quarter = len(ratios) // 4
    return f"{statistics.median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-quarter - 1]:.2f})"
