"""The next bias: the library's rules, for the simulator, the descent and the online part alike."""

import numpy as np
from numpy.typing import NDArray

from explorer.routing import balancing
from explorer.routing.selection import Floats
from explorer.simulate.settings import RuleSettings

F64 = NDArray[np.float64]


def next_bias(
    bias: F64, counts: NDArray[np.int64], scores: Floats, rule: RuleSettings, step: int, top_k: int
) -> F64:
    """The bias [E] after the update that follows this step, from counts [E] and scores [T, E].

    Sign, proportional and RMS use only the counts. The quantile rule uses the scores: it moves by the share
    u towards the bias that would have balanced this step, given every token's cut-off; u = 1 is the plain
    rule, 1 - u its EMA coefficient. SMEBU is not among them: its next move depends on the last one
    (`momentum_move`). Raises ValueError for it.
    """
    if rule.rule == "smebu":
        raise ValueError("the smebu rule needs its last move: use momentum_move")
    rate = rule.rate_at(step)
    if rate == 0 or not rule.has_bias:
        return bias
    if rule.rule != "quantile":
        return np.asarray(
            bias
            + balancing.bias_delta(counts, update_rule=rule.rule, bias_update_rate=rate, centred=rule.centred)
        )
    experts = len(bias)
    if top_k == experts:
        return bias
    required = balancing.required_bias(scores, bias.astype(scores.dtype), top_k)
    rank = balancing.balanced_rank(top_k * len(scores), experts)
    target = balancing.quantile_bias(required, min(rank, len(scores) - 1))
    return np.asarray(balancing.blended(bias, target.astype(np.float64), 1.0 - min(rate, 1.0)))


def momentum_move(before: F64, counts: NDArray[np.int64], rule: RuleSettings, step: int) -> F64:
    """What SMEBU adds to the bias after this step, [E]; before: what it added last, 0 at the start."""
    move = rule.rate_at(step) * balancing.soft_clamped(balancing.load_error(counts), rule.sharpness)
    return np.asarray(balancing.with_momentum(before, move, rule.momentum))
