"""The figures that are reported, from counts, by loops.

Sources: MaxVio from Loss-Free Balancing (arXiv 2408.15664, section 4.1).
"""

import math

# Two-sided 95 % quantiles of Student's t, by degrees of freedom (any printed table).
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}


def max_vio(counts_E):
    """(largest load - mean load) / mean load."""
    mean = sum(counts_E) / len(counts_E)
    return (max(counts_E) - mean) / mean


def mean_max_vio(counts_LE):
    """Layer by layer, then averaged: never pooled."""
    return sum(max_vio(row) for row in counts_LE) / len(counts_LE)


def max_vio_batch(counts_SLE, window):
    """Mean over the last `window` steps of the mean over layers."""
    last = counts_SLE[-window:]
    return sum(mean_max_vio(step) for step in last) / len(last)


def load_entropy(counts_E):
    """-Σ f ln f in nats, an unseen expert adding nothing."""
    total = sum(counts_E)
    entropy = 0.0
    for c in counts_E:
        if c > 0:
            entropy -= c / total * math.log(c / total)
    return entropy


def effective_experts(counts_E):
    return math.exp(load_entropy(counts_E))


def bits_per_byte(nats_per_token, num_tokens, num_bytes):
    """Total bits of the text divided by its bytes."""
    total_nats = nats_per_token * num_tokens
    return total_nats / math.log(2) / num_bytes


def t_interval(values):
    """Mean and half width of the 95 % interval: t · s / sqrt(n), s with n - 1."""
    n = len(values)
    mean = sum(values) / n
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, T_975[n - 1] * math.sqrt(variance / n)


# --- Evenness of one layer, from the definitions ---


def load_shares(counts_E):
    total = sum(counts_E)
    return [c / total for c in counts_E]


def max_over_mean(counts_E):
    return max(counts_E) / (sum(counts_E) / len(counts_E))


def balance_efficiency(counts_E):
    return (sum(counts_E) / len(counts_E)) / max(counts_E)


def coefficient_of_variation(counts_E):
    mean = sum(counts_E) / len(counts_E)
    variance = 0.0
    for c in counts_E:
        variance += (c - mean) ** 2 / len(counts_E)
    return math.sqrt(variance) / mean


def total_variation(counts_E):
    return sum(abs(f - 1 / len(counts_E)) for f in load_shares(counts_E)) / 2


def normalised_entropy(counts_E):
    return load_entropy(counts_E) / math.log(len(counts_E))


def gini(counts_E):
    """Mean absolute difference of all pairs over twice the mean."""
    n = len(counts_E)
    mean = sum(counts_E) / n
    difference = 0.0
    for a in counts_E:
        for b in counts_E:
            difference += abs(a - b)
    return difference / n**2 / (2 * mean)


def idle_experts(counts_E):
    return sum(1 for c in counts_E if c == 0)


# --- Over steps ---


def max_vio_computation_batch(sequences_RLE, size):
    """Mean over whole groups of neighbouring sequences of MaxVio of their summed loads, one a layer."""
    layers = len(sequences_RLE[0])
    result = []
    for layer in range(layers):
        violations = []
        for start in range(0, len(sequences_RLE) - size + 1, size):
            group = [sequences_RLE[r][layer] for r in range(start, start + size)]
            violations.append(max_vio([sum(column) for column in zip(*group, strict=True)]))
        result.append(sum(violations) / len(violations) if violations else math.nan)
    return result


def dead_experts(counts_WE):
    """Experts that no step gives a token."""
    return sum(1 for expert in zip(*counts_WE, strict=True) if not any(expert))


def oscillation(bias_SE):
    """Of the moves that follow a move of the same bias, the share in the opposite direction."""
    followed = turned = 0
    for path in zip(*bias_SE, strict=True):
        for s in range(len(path) - 2):
            first, second = path[s + 1] - path[s], path[s + 2] - path[s + 1]
            if first != 0 and second != 0:
                followed += 1
                if (first > 0) != (second > 0):
                    turned += 1
    return turned / followed if followed else math.nan


# --- Choices of tokens; a number outside 0 ... E - 1 is an empty slot ---


def experts_in(slots_K, num_experts):
    return {e for e in slots_K if 0 <= e < num_experts}


def churn(before_TK, after_TK, num_experts):
    kept = slots = 0
    for old, new in zip(before_TK, after_TK, strict=True):
        a, b = experts_in(old, num_experts), experts_in(new, num_experts)
        kept += len(a & b)
        slots += max(len(a), len(b))
    return 1 - kept / slots if slots else math.nan


def saturation(now_TK, final_TK, num_experts):
    made = slots = 0
    for now, final in zip(now_TK, final_TK, strict=True):
        made += len(experts_in(now, num_experts) & experts_in(final, num_experts))
        slots += len(experts_in(final, num_experts))
    return made / slots if slots else math.nan


def cross_activation(first_TK, second_TK, num_first, num_second):
    table = [[0] * num_second for _ in range(num_first)]
    for one, other in zip(first_TK, second_TK, strict=True):
        for i in experts_in(one, num_first):
            for j in experts_in(other, num_second):
                table[i][j] += 1
    return table


# --- Domains ---


def entropy_bits(shares):
    return -sum(p * math.log2(p) for p in shares if p > 0)


def jensen_shannon(first_E, second_E):
    """Square root of the mean Kullback-Leibler divergence to the mixture, in bits."""
    divergence = 0.0
    for p, q in zip(load_shares(first_E), load_shares(second_E), strict=True):
        middle = (p + q) / 2
        for share in (p, q):
            if share > 0:
                divergence += share * math.log2(share / middle) / 2
    return math.sqrt(max(divergence, 0.0))


def mutual_information(counts_DE):
    """Σ p(d, e) log2 p(d, e) / (p(d) p(e)) with equally likely domains."""
    shares = [load_shares(row) for row in counts_DE]
    information = 0.0
    for e in range(len(shares[0])):
        middle = sum(row[e] for row in shares) / len(shares)
        for row in shares:
            if row[e] > 0:
                information += row[e] / len(shares) * math.log2(row[e] / middle)
    return information
