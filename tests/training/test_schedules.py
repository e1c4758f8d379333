"""Learning rates against the slow reference, and the steps at which the probe is measured."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.learning_rate import learning_rate as slow_learning_rate
from tiny import make_tiny_config

from explorer.config.run import TrainingConfig
from explorer.training.schedules import learning_rate, probe_steps


def schedule(config: TrainingConfig) -> list[float]:
    return [learning_rate(config, step) for step in range(config.num_steps)]


@given(
    num_steps=st.integers(1, 60),
    warmup=st.integers(0, 60),
    kind=st.sampled_from(["cosine", "multistep", "constant"]),
)
def test_learning_rate_equals_the_reference(num_steps: int, warmup: int, kind: str) -> None:
    config = make_tiny_config(
        num_steps=num_steps,
        warmup_steps=min(warmup, num_steps),
        lr_schedule=kind,
        learning_rate=0.5,
        min_learning_rate=0.125,
    ).training
    slow = [
        slow_learning_rate(
            step, num_steps=num_steps, warmup_steps=config.warmup_steps, peak=0.5, least=0.125, schedule=kind
        )
        for step in range(num_steps)
    ]
    assert schedule(config) == pytest.approx(slow)


def test_cosine_climbs_to_the_peak_and_falls_to_the_least() -> None:
    config = make_tiny_config(
        num_steps=104, warmup_steps=4, learning_rate=0.4, min_learning_rate=0.1, lr_schedule="cosine"
    ).training
    rates = schedule(config)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[4:]))
    assert (rates[53] + rates[54]) / 2 == pytest.approx(0.25)


@pytest.mark.parametrize("num_steps", [10, 35, 800, 12_340])
def test_multistep_drops_at_80_and_90_percent(num_steps: int) -> None:
    config = make_tiny_config(
        num_steps=num_steps, warmup_steps=0, learning_rate=1.0, min_learning_rate=0.0, lr_schedule="multistep"
    ).training
    for step in {0, *range(num_steps * 3 // 4, num_steps)}:
        drops = (10 * step >= 8 * num_steps) + (10 * step >= 9 * num_steps)
        assert learning_rate(config, step) == pytest.approx([1.0, 0.316, 0.316**2][drops])


@given(num_steps=st.integers(1, 100_000))
def test_probe_steps_are_few_log_spaced_and_end_with_the_run(num_steps: int) -> None:
    steps = probe_steps(num_steps)
    assert steps == sorted(set(steps))
    assert 1 <= len(steps) <= 5
    assert 1 <= steps[0] <= max(1, round(num_steps / 100))
    assert steps[-1] == num_steps
    if num_steps >= 1000:
        ratios = [b / a for a, b in pairwise(steps)]
        assert len(steps) == 5
        assert max(ratios) == pytest.approx(min(ratios), rel=0.15)
