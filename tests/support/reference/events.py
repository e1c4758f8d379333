"""Events of a run by loops, from the definitions in docs/metrics.md.

Lists by recorded step: `steps` their numbers, `counts_SLE`, `bias_SLE` (None: no bias), `losses_S` (None: no
loss). An event is (step, layer, expert, kind).
"""

import math

from reference.figures import effective_experts, experts_in


def stretches(flags):
    """(start, stop) of the longest rows of true values."""
    spans, start = [], None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        if not flag and start is not None:
            spans.append((start, i))
            start = None
    return spans


def lasting(steps, flags, least, layer, expert, begin, end):
    """Two events for every long stretch: its first step, and the first one after it."""
    episodes = []
    for start, stop in stretches(flags):
        if stop - start >= least:
            episodes.append((steps[start], layer, expert, begin))
            if stop < len(steps):
                episodes.append((steps[stop], layer, expert, end))
    return episodes


def of_loads(steps, counts_SLE):
    episodes = []
    for layer in range(len(counts_SLE[0])):
        rows = [step[layer] for step in counts_SLE]
        for expert in range(len(rows[0])):
            idle = [row[expert] == 0 for row in rows]
            episodes += lasting(steps, idle, 100, layer, expert, "death", "revival")
        low = [sum(row) > 0 and effective_experts(row) <= len(row) / 2 + 1e-9 for row in rows]
        episodes += lasting(steps, low, 100, layer, None, "collapse", "recovery")
    return episodes


def all_finite(values):
    return all(value is not None and math.isfinite(value) for value in values)


def turning_share(bias_SE):
    followed = turned = 0
    for path in zip(*bias_SE, strict=True):
        for a, b, c in zip(path, path[1:], path[2:], strict=False):
            if not all_finite((a, b, c)) or a == b or b == c:
                continue
            followed += 1
            turned += (b > a) != (c > b)
    # 64 steps have room for 62 pairs of moves an expert; half of them must be there.
    return turned / followed if followed >= 0.5 * 62 * len(bias_SE[0]) else 0.0


def of_biases(steps, bias_SLE):
    episodes = []
    for layer in range(len(bias_SLE[0])):
        rows = [step[layer] for step in bias_SLE]
        wide = [i for i, row in enumerate(rows) if all_finite(row) and max(row) - min(row) > 1]
        if wide:
            episodes.append((steps[wide[0]], layer, None, "bias_saturation"))
        for expert in range(len(rows[0])):
            odd = [row[expert] is not None and not math.isfinite(row[expert]) for row in rows]
            episodes += [(steps[a], layer, expert, "bias_not_finite") for a, _ in stretches(odd)]
        windows = [rows[i : i + 64] for i in range(0, len(rows) - 63, 64)]
        turning = [turning_share(window) >= 0.6 for window in windows]
        episodes += [(steps[64 * start], layer, None, "oscillation") for start, _ in stretches(turning)]
    return episodes


def middle(values):
    ranked, half = sorted(values), len(values) // 2
    return ranked[half] if len(values) % 2 else (ranked[half - 1] + ranked[half]) / 2


def rise(losses_S, i):
    """Nats above the median of the 50 steps before, or None where that is no spike."""
    known = [x for x in losses_S[max(0, i - 50) : i] if x is not None and math.isfinite(x)]
    if losses_S[i] is None or not math.isfinite(losses_S[i]) or len(known) < 25:
        return None
    usual = middle(known)
    deviation = 1.4826 * middle([abs(x - usual) for x in known])
    above = losses_S[i] - usual
    return above if above > 6 * deviation and above >= 0.1 else None


def of_losses(steps, losses_S):
    rises = [rise(losses_S, i) for i in range(len(losses_S))]
    episodes = []
    for start, stop in stretches([above is not None for above in rises]):
        peak = max(range(start, stop), key=lambda i: (rises[i], -i))
        episodes.append((steps[peak], None, None, "loss_spike"))
    odd = [loss is not None and not math.isfinite(loss) for loss in losses_S]
    return episodes + [(steps[start], None, None, "loss_not_finite") for start, _ in stretches(odd)]


def of_choices(steps, choices_SLTK, num_experts):
    """The probes' choices [probe][layer][token][slot]; `steps` are those of the probes."""
    episodes = []
    for layer in range(len(choices_SLTK[0])):
        last = [experts_in(slots, num_experts) for slots in choices_SLTK[-1][layer]]
        for step, probe in zip(steps[:-1], choices_SLTK, strict=False):
            same = sum(
                len(experts_in(slots, num_experts) & f) for slots, f in zip(probe[layer], last, strict=True)
            )
            whole = sum(len(f) for f in last)
            if whole and same / whole >= 0.9:
                episodes.append((step, layer, None, "choices_settled"))
                break
    return episodes
