"""A router-only simulation token by token and expert by expert, from the equations alone.

Scores: s = 1 / (1 + w·exp(-o)) for the sigmoid with w = exp(-logit without offset), and the softmax of
the logits. Selection: the K largest of s + b, of equal ones those of lower index. Update: Algorithm 1 of
Loss-Free Balancing (arXiv 2408.15664) and its variants, see `biases.py`.
"""

import itertools
import math

import numpy as np

from reference.biases import momentum_move, update_direction

F = np.float32


def score_row(weights_E, offset_E, score_function):
    """Scores of one token in float32, from exp(-logit) (sigmoid) or exp(logit) (softmax) without offset."""
    if score_function == "sigmoid":
        return [F(1) / (F(1) + w * F(math.exp(-o))) for w, o in zip(weights_E, offset_E, strict=True)]
    shifted = [w * F(math.exp(o)) for w, o in zip(weights_E, offset_E, strict=True)]
    total = np.array(shifted, dtype=F).sum()
    return [value / total for value in shifted]


def top_experts(values_E, top_k):
    """Indices of the K largest; of equal values the first."""
    order = sorted(range(len(values_E)), key=lambda e: (-values_E[e], e))
    return set(order[:top_k])


def rate(u, step_decay, updates):
    return {"constant": u, "sqrt": u / math.sqrt(updates), "harmonic": u / updates}[step_decay]


def neutral(bias_form, experts):
    return [1.0 if bias_form == "multiplicative" else 0.0] * experts


def simulate(
    weights_STE,
    offsets_SE,
    *,
    top_k,
    score_function,
    rule,
    u,
    step_decay,
    bias_form,
    start_step,
    later=(),
    sharpness=2.0,
    momentum=0.5,
):
    """Counts, biases used and switched assignments of every step.

    later: (step, rule, u, step_decay, bias_form) from that step on; a bias is kept between rules that
    add it, or multiply by it, alike, and begins anew otherwise. `none` has no bias. SMEBU starts with no
    move to continue.
    """
    steps, _, experts = weights_STE.shape
    bias, move = neutral(bias_form, experts), [0.0] * experts
    counts, used, switched = [], [], []
    for step in range(steps):
        for at, *settings in later:
            if at == step:
                form = None if rule == "none" else bias_form
                rule, u, step_decay, bias_form = settings
                start_step, move = step, [0.0] * experts
                if form != (None if rule == "none" else bias_form):
                    bias = neutral(bias_form, experts)
        used.append(list(bias))
        load, moved, required = [0] * experts, 0, []
        for weights in weights_STE[step]:
            scores = score_row(weights, offsets_SE[step], score_function)
            if bias_form == "multiplicative":
                compared = [s * F(b) for s, b in zip(scores, bias, strict=True)]
            else:
                compared = [s + F(b) for s, b in zip(scores, bias, strict=True)]
            if top_k < experts:
                cutoff = sorted(compared, reverse=True)[top_k]
                required.append([cutoff - s for s in scores])
            with_bias, without = top_experts(compared, top_k), top_experts(scores, top_k)
            moved += len(with_bias - without)
            for expert in with_bias:
                load[expert] += 1
        counts.append(load)
        switched.append(moved)
        if rule != "none" and step >= start_step:
            size = rate(u, step_decay, step - start_step + 1)
            if rule == "quantile":
                bias = quantile_step(bias, required, top_k, min(size, 1.0))
                continue
            if rule == "smebu":
                move = momentum_move(move, load, size, sharpness, momentum)
                bias = [b + m for b, m in zip(bias, move, strict=True)]
                continue
            direction = update_direction(load, rule)
            bias = [b + size * d for b, d in zip(bias, direction, strict=True)]
    return counts, used, switched


def quantile_step(bias_E, required_TE, top_k, share):
    """`share` of the way to the bias at which each expert would have had its fair share; mean 0 (Su 2026)."""
    experts, tokens = len(bias_E), len(required_TE)
    if not required_TE:
        return bias_E
    fair = top_k * tokens // experts
    target = [float(sorted(row[e] for row in required_TE)[fair]) for e in range(experts)]
    mixed = [(1 - share) * b + share * t for b, t in zip(bias_E, target, strict=True)]
    return [value - sum(mixed) / experts for value in mixed]


def best_balanced(scores_TE, top_k):
    """The best total score of a balanced assignment by trying all of them; K·T/E must be whole."""
    tokens, experts = len(scores_TE), len(scores_TE[0])
    load = top_k * tokens // experts
    best = -math.inf
    for choice in itertools.product(itertools.combinations(range(experts), top_k), repeat=tokens):
        loads = [0] * experts
        for picked in choice:
            for expert in picked:
                loads[expert] += 1
        if all(count == load for count in loads):
            total = sum(scores_TE[t][e] for t, picked in enumerate(choice) for e in picked)
            best = max(best, total)
    return best


def dual_value(scores_TE, prices_E, top_k):
    """D(p) = Σ_i (K largest of γ_i + p) - L Σ p."""
    load = top_k * len(scores_TE) / len(prices_E)
    total = sum(
        sum(sorted((s + p for s, p in zip(row, prices_E, strict=True)), reverse=True)[:top_k])
        for row in scores_TE
    )
    return total - load * sum(prices_E)


def moves(before_T, after_T, loads_E, load):
    """Pairs of an expert left and one joined, by class: 0 over, 1 exact, 2 under."""

    def kind(expert):
        return 0 if loads_E[expert] > load else 2 if loads_E[expert] < load else 1

    table = [[0] * 3 for _ in range(3)]
    for before, after in zip(before_T, after_T, strict=True):
        for left in before - after:
            for joined in after - before:
                table[kind(left)][kind(joined)] += 1
    return table
