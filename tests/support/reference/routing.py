"""The router and the mixture layer by loops.

Sources: Loss-Free Balancing (arXiv 2408.15664, section 2 and Algorithm 1), DeepSeek-V3
(arXiv 2412.19437, section 2.1.2).
"""

import math


def sigmoid(x):
    """1 / (1 + e^-x), without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def scores(logits_TE, score_func):
    """Affinities s of every token to every expert. [T][E] -> [T][E]."""
    result = []
    for logits in logits_TE:
        if score_func == "sigmoid":
            result.append([sigmoid(float(x)) for x in logits])
        elif score_func == "softmax":
            largest = max(float(x) for x in logits)
            exps = [math.exp(float(x) - largest) for x in logits]
            result.append([e / sum(exps) for e in exps])
        else:
            raise ValueError(score_func)
    return result


def biased(scores_TE, bias_E, bias_form):
    """What is compared: s + b, or s · b. Without a bias, s itself."""
    result = []
    for token_scores in scores_TE:
        row = []
        for expert, s in enumerate(token_scores):
            if bias_E is None:
                row.append(s)
            elif bias_form == "additive":
                row.append(s + float(bias_E[expert]))
            elif bias_form == "multiplicative":
                row.append(s * float(bias_E[expert]))
            else:
                raise ValueError(bias_form)
        result.append(row)
    return result


def top_k(row, k):
    """The k experts with the largest values, best first."""
    selected = []
    for _ in range(k):
        best = None
        for expert, value in enumerate(row):
            if expert in selected:
                continue
            if best is None or value > row[best]:
                best = expert
        selected.append(best)
    return selected


def select(scores_TE, bias_E, k, bias_form="additive"):
    """The K experts of every token, by biased score. -> [T][K]."""
    return [top_k(row, k) for row in biased(scores_TE, bias_E, bias_form)]


def gate_weights(scores_TE, chosen_TK, normalize, scale):
    """Weights of the chosen experts, from the scores without the bias. -> [T][K].

    A single chosen expert is never divided by itself: the weight would be the constant 1 and the
    router would learn nothing from the language loss.
    """
    result = []
    for token_scores, experts in zip(scores_TE, chosen_TK, strict=True):
        weights = [token_scores[expert] for expert in experts]
        if normalize and len(experts) > 1:
            total = sum(weights)
            weights = [w / total for w in weights]
        result.append([w * scale for w in weights])
    return result


def count(chosen_TK, num_experts):
    """How many tokens chose each expert. -> [E] whole numbers."""
    result = [0] * num_experts
    for experts in chosen_TK:
        for expert in experts:
            result[expert] += 1
    return result


def switched_slots(scores_TE, bias_E, k, bias_form="additive"):
    """How many of the T·K assignments exist only because of the bias."""
    switched = 0
    with_bias = select(scores_TE, bias_E, k, bias_form)
    without = select(scores_TE, None, k)
    for a, b in zip(with_bias, without, strict=True):
        for expert in a:
            if expert not in b:
                switched += 1
    return switched


def score_margin(scores_TE, bias_E, k, bias_form="additive"):
    """Mean gap between the K-th and the (K+1)-th compared value; None when K = E."""
    gaps = []
    for row in biased(scores_TE, bias_E, bias_form):
        if k == len(row):
            return None
        ordered = sorted(row, reverse=True)
        gaps.append(ordered[k - 1] - ordered[k])
    return sum(gaps) / len(gaps)


def silu(x):
    return x * sigmoid(x)


def matvec(weight, x):
    """weight [out][in] times x [in]."""
    result = []
    for row in weight:
        total = 0.0
        for w, value in zip(row, x, strict=True):
            total += float(w) * value
        result.append(total)
    return result


def swiglu(x, gate, up, down):
    """down · (silu(gate · x) ∘ (up · x)); gate and up are [F][D], down is [D][F]."""
    gated = [silu(value) for value in matvec(gate, x)]
    lifted = matvec(up, x)
    return matvec(down, [a * b for a, b in zip(gated, lifted, strict=True)])


def moe_output(x_TD, experts, chosen_TK, weights_TK, shared=()):
    """Σ over the chosen experts of weight · expert(x), plus every shared expert unweighted.

    experts and shared: one (gate, up, down) triple each, see `swiglu`. -> [T][D].
    """
    result = []
    for x, expert_row, weights in zip(x_TD, chosen_TK, weights_TK, strict=True):
        x = [float(value) for value in x]
        out = [0.0] * len(x)
        for expert, weight in zip(expert_row, weights, strict=True):
            for i, value in enumerate(swiglu(x, *experts[expert])):
                out[i] += float(weight) * value
        for triple in shared:
            for i, value in enumerate(swiglu(x, *triple)):
                out[i] += value
        result.append(out)
    return result
