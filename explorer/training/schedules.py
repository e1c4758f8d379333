"""Learning-rate schedules and measurement steps, as pure functions."""

import math

from explorer.config.run import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of `step`: linear warm-up, then cosine, multistep or constant.

    Multistep multiplies by 0.316 (a factor of ten in two steps) at 80 % and at 90 % of the steps,
    as DeepSeekMoE and the 3B model of arXiv 2408.15664 do; cosine ends at `min_learning_rate`.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return config.learning_rate
    if config.lr_schedule == "multistep":
        drops = (step >= 0.8 * config.num_steps) + (step >= 0.9 * config.num_steps)
        return float(config.learning_rate * 0.316**drops)
    length = max(1, config.num_steps - config.warmup_steps - 1)
    progress = min(1.0, (step - config.warmup_steps) / length)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


def probe_steps(num_steps: int, count: int = 5) -> list[int]:
    """Five log-spaced numbers of updates after which the probe batch is measured, including the last."""
    first = max(1.0, num_steps / 100)
    ratio = (num_steps / first) ** (1 / (count - 1))
    return sorted({min(num_steps, round(first * ratio**i)) for i in range(count)})
