"""Balancing losses by loops, with the gradient of the auxiliary loss derived by hand.

Sources: Switch Transformer (arXiv 2101.03961, eq. 4-6) generalised to K as in Loss-Free Balancing
(arXiv 2408.15664, section 2.2); DeepSeek-V3 (arXiv 2412.19437, eq. 17-20); scope as in "Demons in
the Detail" (arXiv 2501.11873); z-loss from ST-MoE (arXiv 2202.08906, eq. 5).
"""

import math

from reference import routing


def load_ratios(chosen_TK, num_experts):
    """f_i = N / (K T) · c_i: mean 1 over the experts."""
    counts = routing.count(chosen_TK, num_experts)
    num_tokens, k = len(chosen_TK), len(chosen_TK[0])
    return [num_experts * c / (k * num_tokens) for c in counts]


def for_mean(scores_TE, score_norm):
    """The scores that P averages: as they are (raw), or divided by the token's sum (l1)."""
    result = []
    for row in scores_TE:
        total = sum(row) if score_norm == "l1" else 1.0
        result.append([s / total for s in row])
    return result


def mean_scores(scores_TE, score_norm):
    """P_i: the mean over tokens of the score of expert i, before any selection."""
    rows = for_mean(scores_TE, score_norm)
    num_experts = len(rows[0])
    return [sum(row[i] for row in rows) / len(rows) for i in range(num_experts)]


def groups(num_micro_batches, num_sequences, sequence_length, scope):
    """Which tokens are counted together: lists of token positions.

    Tokens lie in order micro-batch, sequence, position.
    """
    num_tokens = num_micro_batches * num_sequences * sequence_length
    size = {
        "sequence": sequence_length,
        "micro_batch": num_sequences * sequence_length,
        "global_batch": num_tokens,
    }[scope]
    return [list(range(start, start + size)) for start in range(0, num_tokens, size)]


def aux_loss(scores_TE, chosen_TK, token_groups, score_norm="l1"):
    """Mean over the groups of Σ_i f_i P_i. Exactly 1 when f or P is uniform and P sums to 1."""
    num_experts = len(scores_TE[0])
    total = 0.0
    for group in token_groups:
        f = load_ratios([chosen_TK[t] for t in group], num_experts)
        p = mean_scores([scores_TE[t] for t in group], score_norm)
        total += sum(a * b for a, b in zip(f, p, strict=True))
    return total / len(token_groups)


def aux_loss_gradient(scores_TE, chosen_TK, token_groups, score_norm="l1"):
    """d(aux_loss)/d(score), with f held fixed. -> [T][E].

    raw: f_i / (T_g G). l1, with S the token's sum of scores and s' = s / S:
    (f_i - Σ_j f_j s'_j) / (S T_g G), for a group of T_g tokens among G groups.
    """
    num_experts = len(scores_TE[0])
    gradient = [[0.0] * num_experts for _ in scores_TE]
    for group in token_groups:
        f = load_ratios([chosen_TK[t] for t in group], num_experts)
        for t in group:
            share = 1.0 / (len(group) * len(token_groups))
            if score_norm == "raw":
                for i in range(num_experts):
                    gradient[t][i] = f[i] * share
                continue
            total = sum(scores_TE[t])
            average = sum(f[j] * scores_TE[t][j] / total for j in range(num_experts))
            for i in range(num_experts):
                gradient[t][i] = (f[i] - average) / total * share
    return gradient


def score_gradient_to_logits(gradient_TE, scores_TE, score_func):
    """Chain rule from scores to router logits. -> [T][E]."""
    result = []
    for g, s in zip(gradient_TE, scores_TE, strict=True):
        if score_func == "sigmoid":
            result.append([a * b * (1 - b) for a, b in zip(g, s, strict=True)])
        else:
            inner = sum(a * b for a, b in zip(g, s, strict=True))
            result.append([b * (a - inner) for a, b in zip(g, s, strict=True)])
    return result


def v3_sequence_loss(scores_TE, k, sequences):
    """DeepSeek-V3's complementary loss: f from the top-K of the scores without bias, l1 scores."""
    return aux_loss(scores_TE, routing.select(scores_TE, None, k), sequences, "l1")


def log_sum_exp(row):
    largest = max(float(x) for x in row)
    return largest + math.log(sum(math.exp(float(x) - largest) for x in row))


def z_loss(logits_TE):
    """Mean over tokens of the squared log-sum-exp of the router logits."""
    return sum(log_sum_exp(row) ** 2 for row in logits_TE) / len(logits_TE)


def z_loss_gradient(logits_TE):
    """d(z_loss)/d(logit) = 2 · lse · softmax / T. -> [T][E]."""
    shares = routing.scores(logits_TE, "softmax")
    result = []
    for row, share in zip(logits_TE, shares, strict=True):
        result.append([2 * log_sum_exp(row) * p / len(logits_TE) for p in share])
    return result
