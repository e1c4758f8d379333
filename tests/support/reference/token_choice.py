"""Token choice by loops: gates, groups, top-p, capacity, GShard's random second expert.

Written from the equations. Sources: DeepSeek-V3 (arXiv 2412.19437, section 2.1.2), Huang et al.
(arXiv 2403.07652, section 3.2), GShard (arXiv 2006.16668, algorithm 1), Switch (arXiv 2101.03961, section
2.2), Shazeer et al. (arXiv 1701.06538, eq. 3-5). A token's chosen experts are a list of any length.
"""

import math

from reference import routing


def softplus(x):
    """log(1 + e^x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def scores(logits_TE, score_func):
    """Affinities s, [T][E] -> [T][E]."""
    if score_func != "sqrt_softplus":
        return routing.scores(logits_TE, score_func)
    return [[math.sqrt(softplus(float(x))) for x in logits] for logits in logits_TE]


def allowed_experts(row, num_groups, groups_kept):
    """The experts of the best groups of one token; `row` are its compared scores."""
    size = len(row) // num_groups
    worth = []
    for group in range(num_groups):
        members = sorted(row[group * size : (group + 1) * size], reverse=True)
        worth.append(sum(members[:2]))
    kept = routing.top_k(worth, groups_kept)
    return [expert for expert in range(len(row)) if expert // size in kept]


def by_rank(row, experts):
    """The given experts, highest value first."""
    return sorted(experts, key=lambda expert: -row[expert])


def choose(scores_TE, bias_E, bias_form, k, num_groups=1, groups_kept=1, p=None):
    """The experts of every token, best first: [T] lists."""
    result = []
    for token_scores, row in zip(scores_TE, routing.biased(scores_TE, bias_E, bias_form), strict=True):
        ranked = by_rank(row, allowed_experts(row, num_groups, groups_kept))
        if p is None:
            result.append(ranked[:k])
            continue
        total = sum(token_scores[expert] for expert in ranked)
        reached, selected = 0.0, []
        for expert in ranked:
            selected.append(expert)
            reached += token_scores[expert] / total
            if reached >= p:
                break
        result.append(selected)
    return result


def gates(weighing_TE, expert_ids, divide_by, scale):
    """The weights of the chosen experts: [T] lists. divide_by: nothing, chosen or all."""
    result = []
    for row, experts in zip(weighing_TE, expert_ids, strict=True):
        total = 1.0
        if divide_by == "chosen":
            total = sum(row[expert] for expert in experts)
        elif divide_by == "all":
            total = sum(row)
        result.append([scale * row[expert] / total for expert in experts])
    return result


def served(expert_ids, weights, num_experts, capacity, policy):
    """Which assignments are served: [T] lists of booleans.

    Every expert takes its queue in order until it is full. The queue: first choices of all tokens, then
    second ones, and so on; with `probability` the largest weight first, however it came to be chosen.
    """
    queues = {expert: [] for expert in range(num_experts)}
    slots = max(len(experts) for experts in expert_ids)
    for slot in range(slots):
        for token, experts in enumerate(expert_ids):
            if slot < len(experts):
                queues[experts[slot]].append((token, slot))
    result = [[False] * len(experts) for experts in expert_ids]
    for queue in queues.values():
        if policy == "probability":
            queue = sorted(queue, key=lambda place: -weights[place[0]][place[1]])
        for token, slot in queue[:capacity]:
            result[token][slot] = True
    return result


def second_is_taken(weights, draws):
    """GShard: whether each token takes its second expert. draws: uniform numbers in [0, 1)."""
    return [draw < 2 * b / (a + b) for (a, b), draw in zip(weights, draws, strict=True)]


def noisy(logits_TE, x_TD, noise_weight_ED, normal_TE):
    """H of Shazeer et al., eq. 4: logit + ε · softplus(x · W_noise)."""
    result = []
    for logits, x, normal in zip(logits_TE, x_TD, normal_TE, strict=True):
        sizes = [softplus(value) for value in routing.matvec(noise_weight_ED, [float(v) for v in x])]
        result.append([float(a) + float(e) * s for a, e, s in zip(logits, normal, sizes, strict=True)])
    return result


def switched(expert_ids, unbiased):
    """How many of the assignments the same choice without a bias does not have."""
    return sum(expert not in b for a, b in zip(expert_ids, unbiased, strict=True) for expert in a)


def margin(rows, expert_ids, num_groups=1, groups_kept=1):
    """Mean gap between the worst chosen and the best that was left, over tokens that left one; else None."""
    gaps = []
    for row, experts in zip(rows, expert_ids, strict=True):
        left = [e for e in allowed_experts(row, num_groups, groups_kept) if e not in experts]
        if left:
            gaps.append(min(row[e] for e in experts) - max(row[e] for e in left))
    return sum(gaps) / len(gaps) if gaps else None
