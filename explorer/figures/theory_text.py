"""Findings of a descent on the dual, computed from its steps."""

import numpy as np

from explorer.charts.captions import number
from explorer.simulate.assignment import Optimum
from explorer.simulate.descent import ROUNDING, Descent
from explorer.simulate.online import Regret, late_cost
from explorer.wording import counted

VERDICT_WORDS = {
    "sure": "falls, as the condition guarantees",
    "improves": "falls anyway",
    "worse": "rises",
    "rests": "stays",
}


def seats(descent: Descent, *, is_balanced: bool) -> str:
    """How many assignments find no seat, at the start or after the last update."""
    loads = descent.loads[-1 if is_balanced else 0]
    beyond = float(np.maximum(loads - descent.load, 0.0).sum())
    when = f"With biases, after {counted(len(descent.promise), 'update')}" if is_balanced else "Scores alone"
    return f"{when}: {counted(round(beyond), 'assignment')} of {int(loads.sum()):,} without a seat."


def dual(descent: Descent, optimum: Optimum) -> str:
    """Distance of the dual from the exact optimum, at the start and at the end."""
    gap = (descent.dual - optimum.value) / descent.num_tokens
    end = float(gap[-20:].mean())
    if end <= ROUNDING * abs(optimum.value) / descent.num_tokens:
        near = "and ends on it, up to rounding"
    else:
        near = f"and ends {number(end)} above it (mean of the last 20 steps)"
    return (
        f"The best balanced assignment scores {optimum.value / descent.num_tokens:.4f} per token. The dual "
        f"starts {number(max(float(gap[0]), 0.0))} above that line {near}."
    )


def verdicts(descent: Descent) -> str:
    """Number of steps that lower or raise the dual, and whether the sufficient condition ever failed."""
    change = descent.change
    lower, raised, rests = (int((change == sign).sum()) for sign in (-1, 1, 0))
    text = f"Of {counted(len(change), 'step')} {lower} lower the dual and {raised} raise it"
    text += f"; {rests} leave it as it is." if rests else "."
    held, broken = descent.condition, int((descent.condition & (change > 0)).sum())
    if held.any():
        text += (
            f" The sufficient condition holds in {counted(int(held.sum()), 'step')}, and the dual rises in "
            f"{broken or 'none'} of them."
        )
    else:
        text += " The sufficient condition holds in no step."
    first = np.flatnonzero(change > 0)
    return text + (f" The first step that raises it is step {int(first[0])}." if len(first) else "")


def moves(descent: Descent, rule: str) -> str:
    """The direction in which tokens moved, and whether the rule's preference was ever violated."""
    total = int(descent.moves.sum())
    if total == 0:
        return "No token changed its expert."
    wrong, ties = descent.violations, descent.ties
    text = f"{counted(total, 'move')} in all. "
    if wrong:
        return text + f"{wrong:,} of them go against the rule's own preference, which the theorem rules out."
    whole = "every one" if not ties else f"every one but {counted(ties, 'exact tie')}"
    text += f"None goes against the rule's own preference: {whole} "
    if rule == "sign":
        return text + "leaves a more loaded class for a less loaded one."
    if rule == "quantile":
        return text + "goes where the bias has risen more."
    text += "leaves a larger load for a smaller one."
    within = descent.against_order
    if not within:
        return text
    return text + f" {within:,} of them stay within a class, which only the sign rule rules out."


def band(descent: Descent) -> str:
    """The step from which all loads are within N − 1 tokens, and whether they stay there."""
    width, steps = descent.band, len(descent.deviation) - 1
    near = f"within {counted(width, 'token')} of the balanced load {descent.load:g}"
    is_inside = descent.deviation <= width
    outside = np.flatnonzero(~is_inside)
    tail = descent.deviation[-max(1, len(descent.deviation) // 4) :]
    worst = f"{float(tail.max()):.4g}"
    end = (
        f"in the last quarter of the steps the worst deviation is {worst} token{'' if worst == '1' else 's'}"
    )
    if not is_inside.any():
        return f"The loads never come {near}; {end}."
    first = int(np.argmax(is_inside))
    came = "from the start" if first == 0 else f"after {counted(first, 'step')}"
    if not len(outside) or outside[-1] < first:
        return f"All loads are {near} {came} and stay there to step {steps}: {end}."
    last = int(outside[-1])
    if last == steps:
        return f"All loads are {near} {came} but do not stay there; they end outside: {end}."
    return (
        f"All loads are {near} {came} but leave again, the last time at step {last}; from step {last + 1} on "
        f"they stay there to step {steps}: {end}."
    )


def regret(runs: dict[str, Regret]) -> str:
    """The rules with the smallest and largest regret, and the cost of late steps."""
    ends = {name: float(run.regret[-1]) for name, run in runs.items()}
    late = {name: late_cost(run) for name, run in runs.items()}
    least, most = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    cheap, dear = min(late, key=late.__getitem__), max(late, key=late.__getitem__)
    steps = len(runs[least].excess)
    return (
        f"After {counted(steps, 'step')} {least} has the smallest regret ({number(ends[least])} per "
        f"token) and {most} the largest ({number(ends[most])}). In the second half 1,000 steps cost "
        f"{number(late[cheap])} with {cheap} and {number(late[dear])} with {dear}."
    )


def ties(modulus: float, rate: float, checked: float) -> str:
    """The second eigenvalue and the step size that it suggests."""
    if modulus <= 0:
        return (
            "Some experts never compete for a token: the second eigenvalue is 0, the dual is flat in places."
        )
    return (
        f"The second eigenvalue is μ = {number(modulus)}, so the gradient step 1/(μ n) is the proportional "
        f"rule with u = {number(rate)}/n. Near the minimum the dual rises by at least {number(checked)} "
        "times (μ/2)·‖b − b*‖² in the sampled directions."
    )
