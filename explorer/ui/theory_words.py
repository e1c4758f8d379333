"""What *this* descent shows, in sentences, and what is published and what was derived here."""

import numpy as np

from explorer.charts.captions import number
from explorer.simulate.assignment import Optimum
from explorer.simulate.descent import Descent
from explorer.simulate.online import Regret, late_cost

VERDICT_WORDS = {
    "sure": "falls, as the condition says",
    "improves": "falls all the same",
    "worse": "rises",
    "rests": "stays",
}

PROBLEM = (
    r"\max_{x}\ \sum_{i,k}\gamma_{ik}x_{ik}\quad\text{with}\quad"
    r"\sum_k x_{ik}=K,\ \ \sum_i x_{ik}=L=\tfrac{KT}{E}"
)
LAGRANGIAN = r"\Lambda(x,p)=\sum_{i,k}\gamma_{ik}x_{ik}+\sum_k p_k\Big(\sum_i x_{ik}-L\Big)"
DUAL = (
    r"D(p)=\max_x\Lambda(x,p)=\sum_i\operatorname{TopKSum}(\gamma_i+p)-L\sum_k p_k,"
    r"\qquad \nabla D=A(p)-L"
)
IDENTITY = (
    r"D(p^{+})-D(p)=-\underbrace{\sum_k\Delta p_k\,(L-A_k)}_{\text{promise}}"
    r"+\underbrace{B}_{\text{benefit}\ \ge\ 0}"
)
CONDITION = (
    r"\text{switched slots}\ \le\ \tfrac12\sum_k|A_k-L|\quad\Rightarrow\quad D(p^{+})\le D(p)"
    r"\qquad\text{(sign rule)}"
)

PUBLISHED = """
**Published** (Han and Zhong, [arXiv 2512.03915](https://arxiv.org/abs/2512.03915); only the abstracts of its
versions were read):

- loss-free balancing as a primal-dual method for an assignment problem, one constant-time update a step;
- on fixed scores: a condition for monotonic improvement of a Lagrangian, a preference of tokens to move from
  overloaded to underloaded experts, an approximate-balance guarantee;
- online: strong convexity and logarithmic expected regret for certain step sizes.

Published (Wang et al., [arXiv 2408.15664](https://arxiv.org/abs/2408.15664)): sign and proportional rule.
"""
DERIVED = """
**Derived here**, and checked on every picture of this page; nothing below is quoted from the paper:

- the Lagrangian and the dual as written above, and the exact optimum by linear programming;
- the identity promise and benefit, and the sufficient condition counted in switched slots;
- the preference of each rule by its own order, with ties allowed;
- the band of E − 1 tokens: at a minimum of the dual, with scores in general position, the ties form a forest
  over the experts, so at most E − 1 slots can lie on the wrong side;
- the tie-density Laplacian as the Hessian, its second eigenvalue μ, and u = K / (E μ) for the u/n step.
"""


def dual(descent: Descent, optimum: Optimum) -> str:
    """How far from the exact optimum the rule starts and ends."""
    gap = (descent.dual - optimum.value) / descent.num_tokens
    end = float(gap[-20:].mean())
    start = float(gap[0])
    if end <= 1e-12 * abs(optimum.value):
        near = "and ends on it exactly"
    else:
        near = f"and ends {number(max(end, 0.0))} above it (mean of the last 20 steps)"
    return (
        f"The best balanced assignment scores {optimum.value / descent.num_tokens:.4f} per token. The dual "
        f"starts {number(start)} above that line {near}."
    )


def verdicts(descent: Descent) -> str:
    """How many steps improve, and whether the condition ever failed."""
    steps = len(descent.promise)
    sure, worse = descent.count("sure"), descent.count("worse")
    improves = descent.count("improves")
    broken = int((descent.condition & (np.diff(descent.dual) > 1e-9 * np.abs(descent.dual[:-1]))).sum())
    text = (
        f"Of {steps} steps {sure + improves} lower the dual and {worse} raise it. The sufficient condition "
        f"holds in {int(descent.condition.sum())} steps, and in {broken or 'none'} of them the dual rises."
    )
    first = np.flatnonzero(descent.verdict == 2)
    return text + (f" The first step that rises is step {int(first[0])}." if len(first) else "")


def moves(descent: Descent, rule: str) -> str:
    """Which way tokens moved."""
    total, against = int(descent.moves.sum()), descent.against_order
    if total == 0:
        return "No token changed its expert."
    own = descent.violations
    text = f"{total:,} moves in all. {own or 'None'} goes against the rule's own preference"
    if rule == "sign":
        return f"{text}: every one leaves a more loaded class for a less loaded one."
    if rule == "quantile":
        return f"{text}: every one goes where the price has risen more."
    return (
        f"{text}: every one leaves a larger load for a smaller one. {against:,} of them stay within a class, "
        "which only the sign rule rules out."
    )


def band(descent: Descent) -> str:
    """When the loads come within E − 1 tokens and where they stay."""
    width = descent.loads.shape[1] - 1
    inside = np.flatnonzero(descent.deviation <= width)
    tail = descent.deviation[-max(20, len(descent.deviation) // 4) :]
    end = f"in the last quarter the worst deviation is {number(float(tail.max()))} tokens"
    if not len(inside):
        return f"The loads never come within {width} tokens of the balanced load; {end}."
    stays = "and stay there" if tail.max() <= width else "but do not stay there"
    return (
        f"All loads are within {width} tokens of {number(descent.load)} after {int(inside[0])} steps "
        f"{stays}: {end}."
    )


def regret(runs: dict[str, Regret]) -> str:
    """Which rule has lost least, and what the late steps still cost."""
    ordered = sorted(runs.items(), key=lambda item: float(item[1].regret[-1]))
    best, worst = ordered[0], ordered[-1]
    late = sorted(runs.items(), key=lambda item: late_cost(item[1]))
    return (
        f"After {int(best[1].steps[-1]):,} steps {best[0]} has lost least "
        f"({number(float(best[1].regret[-1]))} per token) and {worst[0]} most "
        f"({number(float(worst[1].regret[-1]))}). In the second half 1,000 steps cost "
        f"{number(late_cost(late[0][1]))} with {late[0][0]} and {number(late_cost(late[-1][1]))} with "
        f"{late[-1][0]}."
    )


def ties(modulus: float, rate: float, checked: float) -> str:
    """The modulus and what follows from it."""
    if modulus <= 0:
        return (
            "Some experts never compete for a token: the second eigenvalue is 0, the dual is flat in places."
        )
    return (
        f"The second eigenvalue is μ = {number(modulus)}, so the gradient step 1/(μ n) is the proportional "
        f"rule with u = {number(rate)}/n. Near the minimum the dual rises by at least {number(checked)} "
        "times (μ/2)·‖p − p*‖² in the directions that were tried."
    )
