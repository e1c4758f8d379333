"""A workload with a stated imbalance: the skew at which routing without balancing has MaxVio x."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from explorer import metrics
from explorer.routing.selection import choose, column_counts
from explorer.simulate.scores import Scores
from explorer.simulate.settings import MOST_SKEW, ScoreSettings

SAMPLE_NUMBERS = 2**20
"""Scores, tokens times experts, of which the imbalance is measured: the first of the pool."""
HALVINGS = 16
"""Bisections: the skew is then known to MOST_SKEW / 2^16."""


@lru_cache(maxsize=64)
def with_max_vio(settings: ScoreSettings, target: float) -> ScoreSettings:
    """These settings with the skew at which loads without a bias have MaxVio `target`, or the nearest to it.

    MaxVio counts SAMPLE_NUMBERS / E tokens of the pool under the offsets of step 0. It grows with the skew
    except for sampling noise, so a bisection finds it. A target that cannot be reached gives the nearest end:
    skew 0, or MOST_SKEW; MaxVio is at most N/K - 1.
    """
    low, high = 0.0, float(MOST_SKEW)
    if max_vio_at(settings, low) >= target:
        return replace(settings, skew=low)
    if max_vio_at(settings, high) <= target:
        return replace(settings, skew=high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if max_vio_at(settings, middle) < target else (low, middle)
    return replace(settings, skew=round((low + high) / 2, 6))


def max_vio_at(settings: ScoreSettings, skew: float) -> float:
    """MaxVio of the sample without balancing at this skew."""
    # The pool does not depend on the skew: it is drawn once and cached.
    source = _pool(replace(settings, skew=0.0))
    scores = source.of(source.weights[: SAMPLE_NUMBERS // settings.num_experts], source.offset_of(skew))
    return float(np.asarray(metrics.max_vio(column_counts(choose(scores, settings.top_k)))))


@lru_cache(maxsize=8)
def max_vio_of_steps(settings: ScoreSettings) -> float:
    """Mean MaxVio of single steps of T tokens of the sample, without balancing: what a chart of steps shows.

    Above that of all tokens together, by the noise of few tokens and by domains, of which a step holds few.
    """
    source = _pool(replace(settings, skew=0.0))
    weights = source.weights[: SAMPLE_NUMBERS // settings.num_experts]
    steps = len(weights) // settings.num_tokens
    scores = source.of(weights[: steps * settings.num_tokens], source.offset_of(settings.skew))
    mask = choose(scores, settings.top_k).reshape(steps, settings.num_tokens, settings.num_experts)
    return float(np.asarray(metrics.max_vio(mask.sum(1))).mean())


@lru_cache(maxsize=2)
def _pool(settings: ScoreSettings) -> Scores:
    return Scores(settings)
