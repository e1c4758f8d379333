"""Another rule on fixed scores, token by token, in float64."""

import math

from reference import biases, quantiles, token_choice


def replay(scores, bias, top_k, rule, u, updates, *, sequence=None, groups=(1, 1), store=float):
    """(biases after 0, 1 … updates, the loads under each, the last choice).

    sequence: tokens whose loads one update reads, another sequence in each; None: all. store: a function that
    rounds a number as the bias is stored.
    """
    num_experts = len(scores[0])
    now, move = [store(float(b)) for b in bias], [0.0] * num_experts
    path, loads = [now], []
    expert_ids = token_choice.choose(scores, now, "additive", top_k, *groups, None)
    for n in range(updates):
        loads.append(_count(expert_ids, num_experts))
        start, length = 0, len(scores)
        if sequence is not None:
            start, length = n % (len(scores) // sequence) * sequence, sequence
        counts = _count(expert_ids[start : start + length], num_experts)
        if rule == "smebu":
            clamped = [math.tanh(2 * e) for e in biases.update_direction(counts, "proportional")]
            centre = sum(clamped) / num_experts
            move = [0.5 * m + 0.5 * u * (c - centre) for m, c in zip(move, clamped, strict=True)]
            moved = [b + m for b, m in zip(now, move, strict=True)]
        elif rule == "quantile":
            moved = quantiles.updated(scores[start : start + length], now, top_k, memory=1 - u)
        elif rule == "none":
            moved = now
        else:
            moved = biases.updated(now, counts, u, rule)
        now = [store(b) for b in moved]
        path.append(now)
        expert_ids = token_choice.choose(scores, now, "additive", top_k, *groups, None)
    loads.append(_count(expert_ids, num_experts))
    return path, loads, expert_ids


def _count(expert_ids, num_experts):
    return [sum(e in row for row in expert_ids) for e in range(num_experts)]
