"""A bias rule as descent on the dual, on frozen scores: predicted and actual progress per step.

One step goes from (x, p) to (x⁺, p⁺), with A the loads of x. Derived here:

    D(p⁺) - D(p) = Σ_k Δp_k (A_k - L) + B,   B = D(p⁺) - Λ(x, p⁺) ≥ 0

B is the switching benefit, the score gained by reselecting under the new prices. For every rule that moves
against the gradient the first term is negative: the predicted decrease, called the promise. **The step
improves if and only if B does not exceed the promise.** Each switched slot gains at most max Δp - min Δp, so

    switched slots · (max Δp - min Δp) ≤ promise

is sufficient; for the sign rule it reads: switched slots ≤ ½ Σ |A_k - L|.

Preference rule, derived here: if a token leaves k for k', then Δp_k' > Δp_k (≥ with ties). For the sign
rule: k' is strictly lower in the order over > exact > under; for the proportional one: k' has the
smaller load.

Published, in the abstracts of arXiv 2512.03915: that there is a condition for monotonic improvement, a
preference of tokens to move from overloaded to underloaded experts, and an approximate-balance guarantee.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.routing.selection import Floats, Mask, choose, column_counts
from explorer.simulate.assignment import balanced_load, dual, lagrangian
from explorer.simulate.settings import RuleSettings
from explorer.simulate.update import next_bias

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CLASSES = ("over", "exact", "under")
VERDICTS = ("sure", "improves", "worse", "rests")
"""sure: the sufficient condition holds and D falls. improves: it does not hold, but D still falls.
worse: D rises. rests: D stays."""
ROUNDING = 1e-9
"""Relative differences of D below this are rounding."""
TIE_ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Two price changes with a smaller relative difference are equal: the quantile rule
produces exact ties, and rounding decides between them."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """S steps on T frozen tokens."""

    top_k: int
    num_tokens: int
    loads: I64
    """[S + 1, E] loads under the prices of each step; the last row follows the last update."""
    prices: F64
    """[S + 1, E]"""
    dual: F64
    """[S + 1] D(p), total score."""
    promise: F64
    """[S] -Σ Δp (A - L), the decrease of D if no token changed its experts."""
    benefit: F64
    """[S] B, the part of the promise lost to tokens that change experts."""
    switched: I64
    """[S] switched slots."""
    condition: NDArray[np.bool_]
    """[S] whether the sufficient condition holds."""
    verdict: NDArray[np.int64]
    """[S] index into `VERDICTS`."""
    moves: I64
    """[3, 3] removed x added pairs of all steps and tokens, from class (row) to class (column)."""
    violations: int
    """Pairs that contradict the preference rule, Δp_k' < Δp_k beyond rounding; 0 by the theorem."""
    ties: int
    """Pairs with Δp_k' = Δp_k to rounding: the two were equally good before and after."""

    @property
    def load(self) -> float:
        """L = K·T/E."""
        return self.top_k * self.num_tokens / int(self.loads.shape[1])

    @property
    def deviation(self) -> F64:
        """[S + 1] max_k |A_k - L|, tokens."""
        return np.asarray(np.abs(self.loads - self.load).max(1))

    @property
    def change(self) -> NDArray[np.int64]:
        """[S] sign of the change of D in each step, 0 within rounding."""
        return _signs(self.dual)

    @property
    def band(self) -> int:
        """E - 1 tokens: the deviation that ties at a minimum can cause."""
        return int(self.loads.shape[1]) - 1

    def count(self, verdict: str) -> int:
        return int((self.verdict == VERDICTS.index(verdict)).sum())

    @property
    def against_order(self) -> int:
        """Pairs that do not move strictly down the order over > exact > under."""
        return int(np.tril(self.moves).sum())


def descend(scores: Floats, top_k: int, rule: RuleSettings, steps: int) -> Descent:
    """Run a bias rule on frozen scores [T, E], in float64, and record every step."""
    scores = np.asarray(scores, dtype=np.float64)
    tokens, experts = scores.shape
    load = balanced_load(scores, top_k)
    prices, values = np.zeros((steps + 1, experts)), np.zeros(steps + 1)
    loads = np.zeros((steps + 1, experts), dtype=np.int64)
    promise, benefit = np.zeros(steps), np.zeros(steps)
    switched, condition = np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.bool_)
    moves, violations, ties = np.zeros((3, 3), dtype=np.int64), 0, 0
    reach_of_scores = float(np.abs(scores).max(initial=0.0))
    selection = choose(scores, top_k)
    loads[0], values[0] = column_counts(selection), dual(scores, prices[0], top_k)
    for step in range(steps):
        prices[step + 1] = next_bias(prices[step], loads[step], scores, rule, step, top_k)
        delta = prices[step + 1] - prices[step]
        after = choose(scores + prices[step + 1], top_k)
        loads[step + 1] = column_counts(after)
        values[step + 1] = dual(scores, prices[step + 1], top_k)
        promise[step] = -float(delta @ (loads[step] - load))
        benefit[step] = values[step + 1] - lagrangian(scores, selection, prices[step + 1], top_k)
        switched[step] = np.count_nonzero(after & ~selection)
        reach = switched[step] * float(delta.max() - delta.min())
        condition[step] = promise[step] > 0 and reach <= promise[step] * (1 + ROUNDING)
        pairs = move_pairs(selection, after)
        moves += by_class(pairs, loads[step], load)
        gain = delta[None, :] - delta[:, None]
        small = TIE_ROUNDING * (reach_of_scores + float(np.abs(prices[step : step + 2]).max()))
        violations += int(pairs[gain < -small].sum())
        ties += int(pairs[np.abs(gain) <= small].sum())
        selection = after
    return Descent(
        top_k=top_k,
        num_tokens=tokens,
        loads=loads,
        prices=prices,
        dual=values,
        promise=promise,
        benefit=benefit,
        switched=switched,
        condition=condition,
        verdict=_verdicts(values, condition),
        moves=moves,
        violations=violations,
        ties=ties,
    )


def move_pairs(before: Mask, after: Mask) -> I64:
    """[E, E]: over all tokens, pairs of an expert that was left (row) and one that was joined (column)."""
    removed, added = before & ~after, after & ~before
    rows = np.flatnonzero(removed.any(1))
    return np.asarray(removed[rows].T.astype(np.int64) @ added[rows].astype(np.int64))


def by_class(pairs: I64, loads: I64, load: float) -> I64:
    """The same pairs by the class of the experts, [3, 3] in the order of `CLASSES`."""
    # Compared as integers where L is an integer, so that `exact` is exact.
    kind = np.where(loads > load, 0, np.where(loads < load, 2, 1))
    member = (kind[:, None] == np.arange(3)).astype(np.int64)
    return np.asarray(member.T @ pairs @ member)


def _verdicts(values: F64, condition: NDArray[np.bool_]) -> I64:
    verdict = np.array([3, 2, 1])[_signs(values)]  # the last entry is that of -1
    return np.asarray(np.where(condition & (verdict == 1), 0, verdict))


def _signs(values: F64) -> NDArray[np.int64]:
    change, small = np.diff(values), ROUNDING * np.abs(values[:-1])
    return np.asarray((change > small).astype(np.int64) - (change < -small))
