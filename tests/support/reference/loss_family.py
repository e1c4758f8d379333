"""The losses that came before and after, by loops, and gradients by finite differences.

Sources: Switch Transformer (arXiv 2101.03961, eq. 4-6), GShard (arXiv 2006.16668, Algorithm 1), the
accumulation buffer of "Demons in the Detail" (arXiv 2501.11873, section 3), SimBal (arXiv 2506.14038).
"""

from reference import routing


def first_choice(row):
    """The expert with the highest score; the first of equals."""
    best = 0
    for i, score in enumerate(row):
        if score > row[best]:
            best = i
    return best


def probabilities(logits_TE, score_func):
    """Scores divided by their sum per token; a softmax already is."""
    result = []
    for row in routing.scores(logits_TE, score_func):
        total = sum(row)
        result.append([s / total for s in row])
    return result


def means(rows_TE):
    return [sum(row[i] for row in rows_TE) / len(rows_TE) for i in range(len(rows_TE[0]))]


def first_choice_fractions(probabilities_TE):
    """Share of the tokens whose first choice is each expert."""
    counts = [0] * len(probabilities_TE[0])
    for row in probabilities_TE:
        counts[first_choice(row)] += 1
    return [c / len(probabilities_TE) for c in counts]


def switch(logits_TE, score_func="softmax", fractions_E=None):
    """N · Σ f_i P_i over one micro-batch; f may be given, to hold it fixed."""
    p = probabilities(logits_TE, score_func)
    f = first_choice_fractions(p) if fractions_E is None else fractions_E
    return len(f) * sum(a * b for a, b in zip(f, means(p), strict=True))


def gshard(logits_TE, groups, score_func="softmax", normalisation="unit", fractions_GE=None):
    """Mean over groups of (1/N) Σ_e (c_e / S) m_e; `unit`: times N²."""
    total = 0.0
    for number, group in enumerate(groups):
        p = probabilities([logits_TE[t] for t in group], score_func)
        f = first_choice_fractions(p) if fractions_GE is None else fractions_GE[number]
        experts = len(f)
        loss = sum(a * b for a, b in zip(f, means(p), strict=True)) / experts
        total += loss * experts * experts if normalisation == "unit" else loss
    return total / len(groups)


def buffered(parts, expert_ids, score_func="softmax", counts_ME=None):
    """The buffered global loss of a step: mean over its micro-batches of Σ f_i P_i.

    parts: logits [T][E] of each micro-batch, in order. f of micro-batch m is N · c_i / (K · tokens) with
    the counts of the micro-batches 0 ... m; P is its own.
    """
    experts, total = len(parts[0][0]), 0.0
    seen = [0] * experts
    for number, (logits_TE, chosen_TK) in enumerate(zip(parts, expert_ids, strict=True)):
        here = routing.count(chosen_TK, experts)
        seen = [a + b for a, b in zip(seen, here, strict=True)]
        counts = seen if counts_ME is None else counts_ME[number]
        f = [experts * c / sum(counts) for c in counts]
        total += sum(a * b for a, b in zip(f, means(probabilities(logits_TE, score_func)), strict=True))
    return total / len(parts)


def simbal(weight_ED):
    """Σ over pairs of experts of |inner product - 1 if the same|."""
    total = 0.0
    for i, one in enumerate(weight_ED):
        for j, other in enumerate(weight_ED):
            inner = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
            total += abs(inner - (1.0 if i == j else 0.0))
    return total


def finite_differences(function, rows, step=1e-5):
    """Central differences of a function of a table, cell by cell."""
    table = [[float(v) for v in row] for row in rows]
    gradient = []
    for row in table:
        line = []
        for i, value in enumerate(row):
            row[i] = value + step
            high = function(table)
            row[i] = value - step
            low = function(table)
            row[i] = value
            line.append((high - low) / (2 * step))
        gradient.append(line)
    return gradient
