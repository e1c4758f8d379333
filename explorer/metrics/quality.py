"""Figures of the language model, and whether a difference between runs is told apart from none."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

# Two-sided 97.5 % points of Student's t for 1 ... 30 degrees of freedom (then the normal's):
# small enough to write down, which keeps SciPy out of the command line's start-up.
_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def mean_loss(losses: Mapping[str, float]) -> float:
    """Held-out language loss in nats per token, every domain weighing the same."""
    return float(np.mean(list(losses.values())))


def perplexity(losses: Mapping[str, float]) -> float:
    """exp of the mean held-out language loss, domains weighted equally; auxiliary terms never enter."""
    return math.exp(mean_loss(losses))


def bits_per_byte(loss: float, num_tokens: int, num_bytes: int) -> float:
    """Nats per token -> bits per byte, which is comparable between tokenizers."""
    return loss * num_tokens / (num_bytes * math.log(2))


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and half width of the 95 % t interval; None for fewer than two values.

    For paired seeds, give the differences.
    """
    count = len(values)
    if count < 2:
        return None
    freedom = count - 1
    quantile = _T975[freedom - 1] if freedom <= len(_T975) else 1.96 + 2.42 / freedom
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(quantile * array.std(ddof=1) / math.sqrt(count))


def is_resolved(interval: tuple[float, float] | None) -> bool:
    """Whether a paired difference is told apart from zero at 95 %."""
    return interval is not None and abs(interval[0]) > interval[1]
