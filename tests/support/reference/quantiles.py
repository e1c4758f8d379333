"""The rules that solve for the bias, token by token and expert by expert, in float64.

Sources: quantile balancing as in Su's "MoE 6" (kexue.fm 11619) and Kimi K3's report, section 2.3.3 and
appendix D; BIP, arXiv 2502.15451; step sizes, arXiv 2512.03915 (abstract).
"""

import math


def step_size(u, decay, n):
    """The n-th step, n from 1."""
    return {"constant": u, "sqrt": u / math.sqrt(n), "harmonic": u / n}[decay]


def mean_counts(history, memory):
    """Weighted mean of the counts of all steps so far, the newest with weight 1, one older with β, …"""
    num_experts = len(history[0])
    weights = [memory ** (len(history) - 1 - m) for m in range(len(history))]
    return [
        sum(w * counts[e] for w, counts in zip(weights, history, strict=True)) / sum(weights)
        for e in range(num_experts)
    ]


def cutoffs(scores_TE, bias_E, top_k, at_least=-math.inf):
    """Each token's (K+1)-th largest biased score."""
    result = []
    for row in scores_TE:
        compared = sorted((float(s) + float(b) for s, b in zip(row, bias_E, strict=True)), reverse=True)
        result.append(max(at_least, compared[top_k]))
    return result


def share(scores_TE, top_k):
    """q: the tokens that an expert ought to have."""
    return len(scores_TE) * top_k // len(scores_TE[0])


def solution(scores_TE, bias_E, top_k, *, inequalities=False):
    """b̂_j = -(the (q+1)-th largest of s_tj - α_t); with inequalities both multipliers are at least 0."""
    alphas = cutoffs(scores_TE, bias_E, top_k, 0.0 if inequalities else -math.inf)
    result = []
    for expert in range(len(scores_TE[0])):
        margins = sorted((float(r[expert]) - a for r, a in zip(scores_TE, alphas, strict=True)), reverse=True)
        price = margins[share(scores_TE, top_k)]
        result.append(-max(0.0, price) if inequalities else -price)
    return result


def updated(scores_TE, bias_E, top_k, *, memory=0.0, inequalities=False):
    """The bias of the next step."""
    target = solution(scores_TE, bias_E, top_k, inequalities=inequalities)
    mixed = [memory * float(b) + (1 - memory) * t for b, t in zip(bias_E, target, strict=True)]
    if inequalities:
        return mixed
    mean = sum(mixed) / len(mixed)
    return [b - mean for b in mixed]


def bin_width(bias_E, num_bins):
    return (max(bias_E) - min(bias_E) + 2) / num_bins


def histogram(scores_TE, bias_E, top_k, num_bins, *, inequalities=False):
    """How many α_t - s_tj fall in each of the bins over [min b - 1, max b + 1], expert by expert."""
    alphas = cutoffs(scores_TE, bias_E, top_k, 0.0 if inequalities else -math.inf)
    lowest, width = min(bias_E) - 1, bin_width(bias_E, num_bins)
    counts = [[0] * num_bins for _ in bias_E]
    for row, alpha in zip(scores_TE, alphas, strict=True):
        for expert, s in enumerate(row):
            place = math.floor((alpha - float(s) - lowest) / width)
            counts[expert][min(max(place, 0), num_bins - 1)] += 1
    return counts


def linear_quantile(counts, bias_E, num_tokens, top_k):
    """The K/N-quantile of each expert's histogram; the values of a bin fill it from edge to edge."""
    num_experts, num_bins = len(counts), len(counts[0])
    lowest, width = min(bias_E) - 1, bin_width(bias_E, num_bins)
    target, result = num_tokens * top_k / num_experts, []
    for row in counts:
        below = 0
        for place, inside in enumerate(row):
            if below + inside >= target:
                result.append(lowest + width * (place + (target - below) / inside))
                break
            below += inside
    return result


def dual(scores_TE, bias_E, top_k, *, inequalities=False):
    """What the rules minimise: Σ_t (sum of the K best of s_t + b) - q Σ b.

    With inequalities a token may take fewer than K, so only what is positive counts.
    """
    total = -share(scores_TE, top_k) * sum(map(float, bias_E))
    for row in scores_TE:
        best = sorted((float(s) + float(b) for s, b in zip(row, bias_E, strict=True)), reverse=True)[:top_k]
        total += sum(max(0.0, value) if inequalities else value for value in best)
    return total


def moving(scores_SE, top_k, decay, num_bins):
    """β [S][E] of one sequence: the quantile of what an expert's scores were so far, newest weigh most."""
    num_experts = len(scores_SE[0])
    result = []
    for i in range(len(scores_SE)):
        row = []
        for expert in range(num_experts):
            mass = [0.0] * num_bins
            for t in range(i + 1):
                place = min(math.floor(float(scores_SE[t][expert]) * num_bins), num_bins - 1)
                mass[place] += decay ** (i - t)
            total, reached = sum(mass), 0.0
            for place in range(num_bins):
                reached += mass[place]
                if reached >= (1 - top_k / num_experts) * total * (1 - 1e-6):
                    row.append((place + 0.5) / num_bins)
                    break
        result.append(row)
    return result
