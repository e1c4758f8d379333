"""One update of the expert bias, expert by expert.

Sources: Loss-Free Balancing (arXiv 2408.15664, Algorithm 1: sign; Tables 3 and 4: proportional and
multiplicative variants); the RMS-normalised variant b <- b - γ (F - Q) / RMS(F - Q) follows Su's
notes on quantile balancing, with F the load and Q the balanced load.
"""

import math

NEUTRAL = {"additive": 0.0, "multiplicative": 1.0}


def update_direction(counts_E, rule):
    """What u is multiplied by. Positive for an expert that received less than the mean."""
    num_experts, total = len(counts_E), sum(counts_E)
    if total == 0:
        return [0.0] * num_experts
    mean = total / num_experts
    if rule == "sign":
        # In whole numbers: c < total / N exactly where N · c < total.
        result = []
        for c in counts_E:
            if num_experts * c < total:
                result.append(1.0)
            elif num_experts * c > total:
                result.append(-1.0)
            else:
                result.append(0.0)
        return result
    errors = [(mean - c) / mean for c in counts_E]
    if rule == "proportional":
        return errors
    if rule == "rms":
        rms = math.sqrt(sum(e * e for e in errors) / num_experts)
        return [e / rms if rms > 0 else 0.0 for e in errors]
    raise ValueError(rule)


def smebu(bias_E, history, u, sharpness, momentum):
    """The bias after the steps of `history` (counts [E] each), as described for arXiv 2602.17004."""
    bias, move = [float(b) for b in bias_E], [0.0] * len(bias_E)
    for counts_E in history:
        move = momentum_move(move, counts_E, u, sharpness, momentum)
        bias = [b + m for b, m in zip(bias, move, strict=True)]
    return bias


def momentum_move(before_E, counts_E, u, sharpness, momentum):
    """SMEBU's next move from the one before."""
    clamped = [math.tanh(sharpness * e) for e in update_direction(counts_E, "proportional")]
    centre = sum(clamped) / len(clamped)
    return [
        momentum * m + (1 - momentum) * u * (value - centre)
        for m, value in zip(before_E, clamped, strict=True)
    ]


def updated(bias_E, counts_E, u, rule="sign", centred=False):
    """The bias after one optimizer step. The same rule moves additive and multiplicative biases."""
    moves = [u * d for d in update_direction(counts_E, rule)]
    if centred:
        average = sum(moves) / len(moves)
        moves = [m - average for m in moves]
    return [float(b) + m for b, m in zip(bias_E, moves, strict=True)]
