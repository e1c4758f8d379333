"""Scores from a distribution: a pool of tokens is drawn once, and every step takes a window of it.

Drawing a hundred thousand normal numbers in each step would cost more than everything else
together. So "fresh" scores are a random window of a pool of about 2^22 numbers: the tokens of one
step are independent draws, but two steps can share some. The pool is an empirical distribution, and
that is the distribution of the simulation; held-out tokens are drawn separately.
"""

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from explorer.routing.selection import Mask, choose
from explorer.simulate.settings import ScoreSettings

POOL_NUMBERS = 2**22
FEWEST_BATCHES = 16
BLOCK = 4096
"""Rows processed at a time, so that they fit into the CPU cache."""

F32 = NDArray[np.float32]

_OFFSETS, _POOL, _DOMAINS, _WINDOWS, _HELD_OUT = range(5)


def _rng(seed: int, purpose: int) -> np.random.Generator:
    """Independent streams, so that changing one setting leaves the other samples unchanged."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, purpose])))


@lru_cache(maxsize=3)
def _normals(seed: int, purpose: int, tokens: int, experts: int) -> F32:
    """Standard normal numbers [tokens, experts]; cached, since sliders change only later steps."""
    values = _rng(seed, purpose).standard_normal((tokens, experts), dtype=np.float32)
    values.flags.writeable = False
    return values


@lru_cache(maxsize=2)
def _gumbels(seed: int, purpose: int, tokens: int, experts: int) -> F32:
    """Standard Gumbel numbers [tokens, experts], float32."""
    uniform = _rng(seed, purpose).random((tokens, experts), dtype=np.float32)
    # 0 has no logarithm; the smallest other number is 2^-24.
    values = -np.log(-np.log(np.maximum(uniform, np.float32(2**-25))))
    values.flags.writeable = False
    return np.asarray(values, dtype=np.float32)


class Scores:
    """Source of the scores of every step.

    `weights` are exp(-logit) without the offset for the sigmoid, exp(logit) for the softmax: then a
    changed offset costs a multiplication instead of an exponential.
    """

    def __init__(self, settings: ScoreSettings) -> None:
        self.settings = settings
        self._draws = _rng(settings.seed, _OFFSETS).standard_normal((4, settings.num_experts))
        tokens = settings.num_tokens
        if settings.source == "fresh":
            tokens = max(POOL_NUMBERS // settings.num_experts, FEWEST_BATCHES * tokens)
        self.weights = self._weights(_POOL, tokens)

    def windows(self, steps: int) -> NDArray[np.int64]:
        """First row of the window of every step, [S]; always 0 when the tokens are frozen."""
        last = len(self.weights) - self.settings.num_tokens
        return _rng(self.settings.seed, _WINDOWS).integers(0, last + 1, size=steps)

    @cached_property
    def pool(self) -> F32:
        """Scores of the whole pool, [P, E]; for constant offsets."""
        return self.of(self.weights, self.offset(0))

    @cached_property
    def plain(self) -> Mask:
        """The top K of these scores alone, [P, E]."""
        mask = np.empty(self.pool.shape, dtype=np.bool_)
        for first in range(0, len(mask), BLOCK):
            mask[first : first + BLOCK] = choose(self.pool[first : first + BLOCK], self.settings.top_k)
        return mask

    def offset(self, step: int) -> NDArray[np.float64]:
        """The distribution's own offsets in this step, [E] in logits."""
        shifted = 0 < self.settings.shift_step <= step
        first, second = self._draws[2:] if shifted else self._draws[:2]
        angle = 2 * np.pi * self.settings.drift * step / 1000
        return np.asarray(self.settings.skew * (np.cos(angle) * first + np.sin(angle) * second))

    def offset_of(self, skew: float) -> NDArray[np.float64]:
        """The offsets of step 0 with another skew, [E] in logits."""
        return np.asarray(skew * self._draws[0])

    def held_out(self, tokens: int) -> F32:
        """Weights of held-out tokens, [tokens, E]."""
        return self._weights(_HELD_OUT, tokens)

    def of(self, weights: F32, offset: NDArray[np.float64], out: F32 | None = None) -> F32:
        """Scores [T, E] in float32 of rows of weights under these offsets [E]."""
        sigmoid = self.settings.score_function == "sigmoid"
        factors = np.exp(-offset if sigmoid else offset).astype(np.float32)
        scores: F32 = np.multiply(weights, factors, out=out)
        if sigmoid:
            scores += np.float32(1)
            return np.asarray(np.reciprocal(scores, out=scores))
        scores /= scores.sum(1, keepdims=True)
        return scores

    def _weights(self, purpose: int, tokens: int) -> F32:
        settings = self.settings
        draw = _gumbels if settings.noise_kind == "gumbel" else _normals
        logits = draw(settings.seed, purpose, tokens, settings.num_experts) * np.float32(settings.noise)
        if settings.domains > 1 and settings.domain_skew > 0:
            rng = _rng(settings.seed, _DOMAINS)
            liking = rng.standard_normal((settings.domains, settings.num_experts), dtype=np.float32)
            sequences = -(-tokens // settings.sequence_tokens)
            # Expert popularity is the same for pool and held-out tokens, the domains are not.
            domain = _rng(settings.seed, _DOMAINS + 10 * (purpose + 1)).integers(
                0, settings.domains, sequences
            )
            logits += (
                np.float32(settings.domain_skew) * liking[domain.repeat(settings.sequence_tokens)[:tokens]]
            )
        if settings.score_function == "sigmoid":
            np.negative(logits, out=logits)
        return np.asarray(np.exp(logits, out=logits))


@lru_cache(maxsize=2)
def scores_of(settings: ScoreSettings) -> Scores:
    """Cached `Scores`: two rules on one distribution share the pool."""
    return Scores(settings)
