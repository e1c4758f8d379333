"""Online setting: new tokens in every step, and the regret of learning the prices.

The expected dual per token is taken over a pool of tokens, and every step sees one block of that pool,
chosen at random; so a step's gradient is an unbiased estimate. Regret after n steps is

    R(n) = Σ_{m ≤ n} [D(p_m) - min D]   in score per token.

Published, in the abstract of arXiv 2512.03915: logarithmic expected regret in the online setting, by
strong convexity and for certain step sizes. Derived here: that the modulus is the second eigenvalue of
the tie-density Laplacian, and the 1/(μ n) step that follows from it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.routing.selection import Floats, Selector
from explorer.simulate.assignment import Optimum, PoolDual, dual, minimise_dual
from explorer.simulate.scores import F32, Scores
from explorer.simulate.settings import RuleSettings, ScoreSettings
from explorer.simulate.update import next_bias

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

POOL_TOKENS = 8192
DRAWN = 120


@dataclass(frozen=True, kw_only=True)
class Regret:
    """The regret of one rule."""

    rule: RuleSettings
    excess: F64
    """[S] D(p) - min D in every step, score per token."""

    @property
    def regret(self) -> F64:
        """[S] cumulative excess, including the step."""
        return np.asarray(np.cumsum(self.excess))


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The distribution: tokens [P, E], and the optimal prices on it."""

    scores: F32
    top_k: int
    num_tokens: int
    """Tokens per step."""
    optimum: Optimum


def make_pool(settings: ScoreSettings, tokens: int = POOL_TOKENS) -> Pool:
    """A pool of whole blocks of `settings.num_tokens` tokens; without drift, shift and feedback."""
    still = replace(settings, source="frozen", drift=0.0, shift_step=0, feedback=0.0)
    blocks = max(8, tokens // settings.num_tokens)
    source = Scores(replace(still, num_tokens=blocks * settings.num_tokens))
    scores = source.of(source.weights, source.offset(0))
    return Pool(
        scores=scores,
        top_k=settings.top_k,
        num_tokens=settings.num_tokens,
        optimum=minimise_dual(scores, settings.top_k),
    )


def drawn_steps(steps: int, most: int = DRAWN) -> I64:
    """The steps among 1 ... steps that a chart draws: dense at the beginning and evenly spaced later, which
    suits both axes. The regret is computed at every step; a line does not need all of them.
    """
    log = np.geomspace(1, steps, most // 2).round()
    linear = np.linspace(1, steps, most // 2).round()
    return np.unique(np.concatenate([log, linear]).astype(np.int64))


def online_regret(pool: Pool, rule: RuleSettings, steps: int, seed: int = 0) -> Regret:
    """Run a bias rule on random blocks of the pool and sum its excess over the optimal prices."""
    blocks = len(pool.scores) // pool.num_tokens
    order = np.random.default_rng([seed, 7]).integers(0, blocks, steps)
    select = Selector(pool.num_tokens, pool.scores.shape[1], pool.top_k)
    value = PoolDual(pool.scores, pool.top_k)
    bias, values = np.zeros(pool.scores.shape[1]), np.zeros(steps)
    for step in range(steps):
        values[step] = value(bias)
        start = int(order[step]) * pool.num_tokens
        scores = pool.scores[start : start + pool.num_tokens]
        _, counts = select.choose(scores + bias.astype(np.float32))
        bias = next_bias(bias, counts, scores, rule, step, pool.top_k)
    return Regret(rule=rule, excess=np.maximum(values - pool.optimum.value, 0.0) / len(pool.scores))


def tie_laplacian(scores: Floats, prices: F64, top_k: int, width: float) -> F64:
    """The Hessian of the expected dual per token, estimated, [E, E].

    Off the diagonal it is minus the density of ties between two experts for the last place: of the tokens
    whose K-th and (K+1)-th values are those two and less than `width` apart, one in 2·width counts. Rows
    sum to 0: a weighted graph Laplacian. Needs K < E.
    """
    tokens, experts = scores.shape
    compared = np.asarray(scores, dtype=np.float64) + prices
    order = np.argpartition(-compared, (top_k - 1, top_k), axis=1)[:, top_k - 1 : top_k + 1]
    rows = np.arange(tokens)
    gap = compared[rows, order[:, 0]] - compared[rows, order[:, 1]]
    close = gap < width
    weights = np.zeros((experts, experts))
    np.add.at(weights, (order[close, 0], order[close, 1]), 1.0)
    density = (weights + weights.T) / (2 * width * tokens)
    return np.asarray(np.diag(density.sum(1)) - density)


def curvature(laplacian: F64) -> float:
    """Its second eigenvalue: the modulus of strong convexity on Σp = 0; 0 if the graph is not connected."""
    return float(max(np.linalg.eigvalsh(laplacian)[1], 0.0))


def tie_width(scores: Floats, prices: F64, top_k: int, share: float = 0.1) -> float:
    """A width within which `share` of the tokens are tied: narrow, but with enough tokens for an estimate."""
    compared = np.asarray(scores, dtype=np.float64) + prices
    place = scores.shape[1] - top_k
    ordered = np.partition(compared, (place - 1, place), axis=1)
    return float(np.quantile(ordered[:, place] - ordered[:, place - 1], share))


def curvature_rate(modulus: float, num_experts: int, top_k: int) -> float:
    """The u of a proportional u/n rule that makes it the 1/(μ n) gradient step on the dual per token.

    The gradient is -(K/E) · relative error, so u = K / (E μ).
    """
    return top_k / (num_experts * modulus)


def late_cost(regret: Regret) -> float:
    """Growth of the regret per 1,000 steps in the second half, score per token: near 0 after convergence."""
    return float(regret.excess[len(regret.excess) // 2 :].mean()) * 1000


def convexity_ratio(pool: Pool, modulus: float, radius: float, directions: int = 12) -> float:
    """Smallest (D(p) - D*) / ((μ/2)·‖p - p*‖²) at this distance from the minimum, p with mean 0.

    About 1 or more where the modulus is right; directions are random samples, so this is not a proof.
    """
    rng = np.random.default_rng(11)
    ratios = []
    for _ in range(directions):
        step = rng.standard_normal(len(pool.optimum.prices))
        step -= step.mean()
        step *= radius / np.linalg.norm(step)
        value = dual(pool.scores, (pool.optimum.prices + step).astype(np.float32), pool.top_k)
        ratios.append((value - pool.optimum.value) / len(pool.scores))
    return float(min(ratios) / (modulus / 2 * radius**2))
