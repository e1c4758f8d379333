"""Metrics of the language model."""

import math
from collections.abc import Mapping

import numpy as np


def mean_loss(losses: Mapping[str, float]) -> float:
    """Held-out language loss in nats per token, every domain weighing the same."""
    return float(np.mean(list(losses.values())))


def perplexity(losses: Mapping[str, float]) -> float:
    """exp of the mean held-out language loss, domains weighted equally; auxiliary terms never enter."""
    return math.exp(mean_loss(losses))


def bits_per_byte(loss: float, num_tokens: int, num_bytes: int) -> float:
    """Nats per token -> bits per byte, which is comparable between tokenizers."""
    return loss * num_tokens / (num_bytes * math.log(2))
