"""A training run says on standard error what is wrong with its router."""

import numpy as np
import pytest

from explorer.cli import live_health
from explorer.cli.live_health import HealthLines
from explorer.health.live import WARM_UP_STEPS
from explorer.recording import RunInfo
from explorer.records.records import LoadRecord

INFO = RunInfo(
    run_id="run", name="run", num_moe_layers=1, num_experts=8, top_k=2, tokens_per_step=64, num_steps=0
)


def test_findings_are_said_beside_the_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = HealthLines(lambda: now)
    tokens_LE = np.array([[64, 64, 0, 0, 0, 0, 0, 0]])
    for step in range(WARM_UP_STEPS + 3):
        lines(INFO, LoadRecord(step=step, tokens_LE=tokens_LE))
        if step >= WARM_UP_STEPS:
            now += live_health.INTERVAL_S
    streams = capsys.readouterr()
    assert streams.out == ""
    first = streams.err.splitlines()[0]
    assert first.startswith(f"step {WARM_UP_STEPS + 2}: health: collapse: Layer 0 has collapsed")


def test_buffers_that_a_loop_reuses_are_copied() -> None:
    lines = HealthLines()
    tokens_LE = np.array([[64, 64, 0, 0, 0, 0, 0, 0]])
    lines(INFO, LoadRecord(step=0, tokens_LE=tokens_LE, expert_bias_LE=np.zeros((1, 8), dtype=np.float32)))
    tokens_LE[:] = 0
    assert lines._health is not None
    assert lines._health._loads[0].tokens_LE.sum() == 128
