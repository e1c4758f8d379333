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
