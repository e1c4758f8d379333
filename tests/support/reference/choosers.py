"""Expert choice, expert thresholds and the controls by loops.

Sources: Expert Choice (arXiv 2202.09368, section 3.2), Expert Threshold Routing (arXiv 2603.11535,
eq. 6 and algorithm 1), Hash Layers (arXiv 2106.04426).
"""

import math


def experts_choose(scores_TE, k, chunk=None):
    """Which experts take which token: a list of ascending expert ids for each token. [T][E] -> [T][..].

    Tokens are cut into groups of `chunk` in order; the last group may be shorter. Of a group of n
    tokens every expert takes the ceil(n K / E) with its highest scores.
    """
    num_tokens, num_experts = len(scores_TE), len(scores_TE[0])
    taken = [[] for _ in range(num_tokens)]
    size = num_tokens if chunk is None else chunk
    for start in range(0, num_tokens, size):
        group = list(range(start, min(start + size, num_tokens)))
        capacity = math.ceil(len(group) * k / num_experts)
        for expert in range(num_experts):
            left = list(group)
            for _ in range(capacity):
                best = left[0]
                for token in left:
                    if scores_TE[token][expert] > scores_TE[best][expert]:
                        best = token
                left.remove(best)
                taken[best].append(expert)
    return [sorted(experts) for experts in taken]


def above(scores_TE, thresholds_E):
    """Every expert whose cut-off the token's score exceeds. -> [T][..]"""
    expert_ids = []
    for row in scores_TE:
        expert_ids.append([e for e, s in enumerate(row) if s > thresholds_E[e]])
    return expert_ids


def quantile(values, share):
    """The value below which `share` of the values lie, between two neighbours linearly."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    if below + 1 == len(ordered):
        return ordered[below]
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])


def moved_thresholds(thresholds_E, scores_TE, k, memory, is_first):
    """θ after one step: m θ + (1 - m) times the 1 - K/E quantile of the step's scores; the first is taken."""
    num_experts = len(thresholds_E)
    moved = []
    for expert in range(num_experts):
        cut = quantile([row[expert] for row in scores_TE], 1 - k / num_experts)
        if k == num_experts:
            cut = -1.0
        moved.append(cut if is_first else memory * thresholds_E[expert] + (1 - memory) * cut)
    return moved


def load(taken_T, num_experts):
    """How many tokens every expert has."""
    counts = [0] * num_experts
    for experts in taken_T:
        for expert in experts:
            counts[expert] += 1
    return counts
