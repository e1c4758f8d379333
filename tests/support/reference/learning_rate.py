"""The learning rate of a step, step by step. Steps count from 0."""

import math


def learning_rate(step, *, num_steps, warmup_steps, peak, least, schedule):
    """Linear warm-up that reaches the peak on its last step, then the schedule.

    cosine: the peak on the first step after the warm-up, `least` on the last step of the run.
    multistep: times 0.316 from 80 % of the steps on, and once more from 90 % on.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    if schedule == "multistep":
        rate = peak
        if step >= 0.8 * num_steps:
            rate *= 0.316
        if step >= 0.9 * num_steps:
            rate *= 0.316
        return rate
    if num_steps - warmup_steps == 1:
        return peak
    progress = (step - warmup_steps) / (num_steps - 1 - warmup_steps)
    return least + (peak - least) * (1 + math.cos(math.pi * progress)) / 2
