"""Expert choice by loops, run again from the start for every changed token."""

import math


def taken(scores, top_k, chunk):
    """The experts of every token: each expert takes its best tokens of every chunk, earlier ones first."""
    result = [set() for _ in scores]
    for start in range(0, len(scores), chunk):
        rows = range(start, min(start + chunk, len(scores)))
        capacity = math.ceil(len(rows) * top_k / len(scores[0]))
        for expert in range(len(scores[0])):
            for token in sorted(rows, key=lambda t: (-scores[t][expert], t))[:capacity]:
                result[token].add(expert)
    return result


def leak(scores, top_k, chunk, sequence_tokens):
    """(trials, those that move an earlier token of the sequence, of another sequence, earlier tokens)."""
    before, tokens = taken(scores, top_k, chunk), len(scores)
    earlier_trials = other_trials = earlier_tokens = 0
    for t in range(tokens):
        changed = [list(row) for row in scores]
        changed[t] = list(scores[(t + tokens // 2) % tokens])
        after = taken(changed, top_k, chunk)
        moved = [u for u in range(tokens) if u != t and before[u] != after[u]]
        own = [u for u in moved if u // sequence_tokens == t // sequence_tokens and u < t]
        earlier_trials += bool(own)
        earlier_tokens += len(own)
        other_trials += any(u // sequence_tokens != t // sequence_tokens for u in moved)
    return tokens, earlier_trials, other_trials, earlier_tokens
