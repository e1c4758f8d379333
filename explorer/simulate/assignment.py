"""Balanced routing as an assignment problem, and the dual that the bias rules descend.

γ [T, E] scores, x [T, E] in {0, 1} the selection, L = K·T/E the balanced load, p [E] the prices, which are
the biases of the router:

    primal      max Σ γ x   with Σ_k x_ik = K for every token and Σ_i x_ik = L for every expert
    Lagrangian  Λ(x, p) = Σ γ x + Σ_k p_k (Σ_i x_ik - L)
    dual        D(p) = max_x Λ = Σ_i (sum of the K largest of γ_i + p) - L · Σ p

D is convex and piecewise linear, its gradient is load - L, and p + c gives the same value for every c. Its
minimum is the best total score of a balanced assignment, because the linear relaxation is exact
(bipartite b-matching).

Published: that loss-free balancing can be read as a primal-dual method for an assignment problem
(abstract of Han and Zhong, arXiv 2512.03915). Derived here: this formulation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_array, identity, kron, vstack

from explorer.routing.selection import Floats, Mask, Selector, column_counts

F64 = NDArray[np.float64]


def balanced_load(scores: Floats, top_k: int) -> float:
    """L = K·T/E tokens."""
    return top_k * len(scores) / int(scores.shape[1])


def top_k_sum(values: Floats, top_k: int) -> float:
    """Sum over the rows of their K largest values, [T, E] -> a number in float64."""
    place = values.shape[1] - top_k
    return float(np.partition(values, place, axis=1)[:, place:].sum(dtype=np.float64))


def dual(scores: Floats, prices: F64, top_k: int) -> float:
    """D(p), in total score of all tokens."""
    return top_k_sum(scores + prices, top_k) - balanced_load(scores, top_k) * float(prices.sum())


class PoolDual:
    """D(p) for repeated evaluation on the same tokens, several times faster than `dual`.

    Experts are processed one by one, keeping each token's K best so far in order, so that every operation
    runs over all tokens in contiguous memory. If K is more than half of E, the E - K worst are kept instead.
    """

    def __init__(self, scores: Floats, top_k: int) -> None:
        tokens, self._experts = scores.shape
        self._top_k, self._load = top_k, balanced_load(scores, top_k)
        self._columns = np.ascontiguousarray(scores.T)
        self._worst = 2 * top_k > self._experts
        depth = self._experts - top_k if self._worst else top_k
        self._extremes = np.empty((depth, tokens), dtype=scores.dtype)
        self._work = np.empty((2, tokens), dtype=scores.dtype)

    def __call__(self, prices: F64) -> float:
        """prices [E], rounded to the type of the scores as in `dual`; returns the total score of all
        tokens."""
        rounded = np.asarray(prices).astype(self._columns.dtype)
        keep, pass_on = (np.minimum, np.maximum) if self._worst else (np.maximum, np.minimum)
        self._extremes.fill(np.inf if self._worst else -np.inf)
        value, other = self._work
        total = 0.0
        for expert in range(self._experts):
            np.add(self._columns[expert], rounded[expert], out=value)
            if self._worst:
                total += float(value.sum(dtype=np.float64))
            for row in self._extremes:
                pass_on(row, value, out=other)
                keep(row, value, out=row)
                value, other = other, value
        extreme_sum = float(self._extremes.sum(dtype=np.float64))
        best = total - extreme_sum if self._worst else extreme_sum
        return best - self._load * float(rounded.sum(dtype=np.float64))


def lagrangian(scores: Floats, mask: Mask, prices: F64, top_k: int) -> float:
    """Λ(x, p) for any selection, not necessarily the best one under these prices."""
    excess = column_counts(mask) - balanced_load(scores, top_k)
    return float(scores[mask].sum(dtype=np.float64) + prices @ excess)


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best balanced assignment."""

    value: float
    """Total score; the minimum of D."""
    prices: F64
    """[E] prices at which D has its minimum, mean 0; not unique."""


def lp_optimum(scores: Floats, top_k: int) -> Optimum:
    """The exact optimum by linear programming (HiGHS). scores [T, E].

    Meant for up to about 20,000 scores. K·T/E need not be an integer: the relaxation, and with it the
    minimum of D, still exists. Raises RuntimeError if the solver gives up.
    """
    tokens, experts = scores.shape
    by_token = kron(identity(tokens), np.ones((1, experts)))
    by_expert = kron(np.ones((1, tokens)), identity(experts))
    target = np.concatenate([np.full(tokens, top_k), np.full(experts, balanced_load(scores, top_k))])
    solution = linprog(
        -np.asarray(scores, dtype=np.float64).ravel(),
        A_eq=csr_array(vstack([by_token, by_expert])),
        b_eq=target,
        bounds=(0, 1),
        method="highs",
    )
    if solution.status != 0:
        raise RuntimeError(f"the linear program was not solved: {solution.message}")
    # HiGHS minimises -Σγx, and one more slot for expert k changes that by p_k.
    prices = np.asarray(solution.eqlin.marginals[tokens:], dtype=np.float64)
    return Optimum(value=-float(solution.fun), prices=prices - prices.mean())


def minimise_dual(scores: Floats, top_k: int, iterations: int = 60) -> Optimum:
    """A minimum of D for many tokens, where a linear program would take too long.

    D is piecewise linear, but with thousands of tokens it is smooth enough for L-BFGS; small subgradient
    steps refine it. `value` is at least the true minimum; tests compare it with the linear program.
    """
    tokens, experts = scores.shape
    load, kind = balanced_load(scores, top_k), scores.dtype
    select = Selector(tokens, experts, top_k, kind)
    best = Optimum(value=np.inf, prices=np.zeros(experts))

    def value_and_gradient(prices: F64) -> tuple[float, F64]:
        nonlocal best
        rounded = prices.astype(kind)
        compared = scores + rounded
        selection, counts = select.choose(compared)
        # The sum of the top K of scores plus prices.
        value = float(np.einsum("te,te->", scores, selection, dtype=np.float64)) + float(
            rounded.astype(np.float64) @ (counts - load)
        )
        if value < best.value:
            best = Optimum(value=value, prices=prices - prices.mean())
        return value / tokens, (counts - load) / tokens

    minimize(value_and_gradient, best.prices, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    prices = best.prices
    for step in range(iterations):
        _, gradient = value_and_gradient(prices)
        prices = prices - gradient / (1 + step) ** 0.75
    return best
